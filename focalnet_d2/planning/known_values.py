"""Tensors without values, of which those that the network has no part in are computed all the same.

Fake tensors have shapes and no values, so a training step with them takes no memory and next to no time. It ends where
a shape or a branch depends on a value. Most such values follow from the inputs alone (labels, boxes, padding, anchors),
and those are computed here beside the fake tensors; what depends on weights or pixels is guessed.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torchvision  # noqa: F401 - which registers its operators
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

from focalnet_d2.utils.tensors import tensors_in

MOST_ELEMENTS = 2**24  # of a tensor whose values are computed
aten = torch.ops.aten

_DEVICE = torch.ops.prim.device.default
_WITHOUT_VALUES = {aten.empty, aten.empty_like, aten.new_empty, aten.empty_strided, aten.new_empty_strided}
_OVERWRITING = {aten.fill_, aten.zero_, aten.copy_}


class KnownValues(TorchDispatchMode):
    """A block in which new tensors are fake, and have values where these do not depend on an unknown tensor.

    Detectron2's and this library's models run in it from the images to the step of the optimizer. Values that they ask
    for and that are unknown are guessed as "all": all of a mask is set, all boxes stay, a number is 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._values: dict[int, Tensor] = {}  # by the id of the fake tensor
        self._sharing: dict[int, set[int]] = {}  # ids of the fake tensors of a storage

    def __enter__(self) -> "KnownValues":
        self.fake.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.fake.__exit__(*error)

    def unknown(self, tensor: Tensor) -> Tensor:
        """A fake tensor of any shape like this one, whose values nobody knows: pixels."""
        return self.fake.from_tensor(tensor)

    def known(self, tensor: Tensor) -> Tensor:
        """A fake tensor with the values of this one, of any shape."""
        with _disable_current_modes():
            values = tensor.clone()  # which operators inside may write to
        return self._remember(self.fake.from_tensor(tensor), values)

    def value(self, tensor: Tensor) -> Tensor | None:
        """The values of a tensor of any shape, or None if they are unknown; tensors from outside have theirs."""
        return self._values.get(id(tensor)) if isinstance(tensor, FakeTensor) else tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is _DEVICE and isinstance(args[0], FakeTensor):  # half of all calls, and the slow way is long
            return args[0].fake_device
        known = self._compute(func, args, kwargs)
        try:
            fake = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            if known is None:
                args = self._with_full_masks(args)
                known = self._compute(func, args, kwargs)
            fake = guess(func, args) if known is None else self._faked(known)
        self._pair(fake, known)
        if known is None:
            self._forget_written(func, args)
        return fake

    def _compute(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """The operator's results with values; None where they are unknown."""
        operator = func.overloadpacket
        arguments = args[1:] if operator in _OVERWRITING else args
        if operator in _WITHOUT_VALUES or any(self.value(one) is None for one in tensors_in((arguments, kwargs))):
            return None
        if operator in _OVERWRITING and self.value(args[0]) is None:
            if args[0].numel() > MOST_ELEMENTS:
                return None
            with _disable_current_modes():
                self._remember(args[0], torch.empty(args[0].shape, dtype=args[0].dtype))
        with _disable_current_modes():
            values, options = tree_map_only(Tensor, self.value, (args, kwargs))
            try:
                return func(*values, **options)
            except (RuntimeError, NotImplementedError, IndexError):
                return None

    def _pair(self, fake: Any, known: Any) -> None:
        """Remember the values of an operator's results."""
        for shape, value in zip(tensors_in(fake), tensors_in(known)):
            if value.numel() <= MOST_ELEMENTS:
                self._remember(shape, value)

    def _remember(self, fake: Tensor, value: Tensor) -> Tensor:
        name, storage = id(fake), fake.untyped_storage()._cdata
        if name not in self._values:
            weakref.finalize(fake, self._forget, name, storage)
        self._values[name] = value
        self._sharing.setdefault(storage, set()).add(name)
        return fake

    def _forget(self, name: int, storage: int) -> None:
        self._values.pop(name, None)
        names = self._sharing.get(storage, set())
        names.discard(name)
        if not names:
            self._sharing.pop(storage, None)

    def _forget_written(self, func: Any, args: tuple) -> None:
        """A tensor that an operator has written unknown values into is unknown from then on, and so are its views."""
        for argument, value in zip(func._schema.arguments, args):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for one in tensors_in(value):
                    storage = one.untyped_storage()._cdata
                    for name in list(self._sharing.get(storage, ())):
                        self._forget(name, storage)

    def _with_full_masks(self, args: tuple) -> tuple:
        """The arguments with the values of masks: where they are unknown, everything is set."""

        def full(tensor: Tensor) -> Tensor:
            if tensor.dtype != torch.bool:
                return tensor
            with _disable_current_modes():
                known = self.value(tensor)
                return torch.ones(tensor.shape, dtype=torch.bool) if known is None else known

        return tree_map_only(Tensor, full, args)

    def _faked(self, known: Any) -> Any:
        return tree_map_only(Tensor, self.fake.from_tensor, known)


def guess(func: Any, args: Sequence[Any]) -> Any:
    """The result of an operator whose shape or number follows from values that are unknown.

    Args:
        args: of the operator; masks among them have values.

    Raises:
        NotImplementedError: there is no guess for this operator.
    """
    name = func.overloadpacket
    if name not in _GUESSES:
        raise NotImplementedError(f"The plan has no guess for {func}, whose result depends on unknown values.")
    return _GUESSES[name](*args)


def _number(tensor: Tensor) -> bool | int | float:
    return 1.0 if tensor.dtype.is_floating_point else 1


def _at(tensor: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """`tensor[indices]`, where masks take part."""
    places: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype == torch.bool:
            places += [tensor.new_empty(_count(index), dtype=torch.int64)] * index.dim()
        else:
            places.append(index)
    return aten.index(tensor, places)


def _count(mask: Tensor) -> int:
    with _disable_current_modes():
        return int(mask.sum())


_GUESSES: dict[Any, Callable[..., Any]] = {
    aten._local_scalar_dense: _number,
    aten.index: _at,
    aten.masked_select: lambda tensor, mask: tensor.new_empty(_count(mask)),
    torch.ops.torchvision.nms: lambda boxes, *_: torch.arange(len(boxes)),
}

"""Results that are cheaper to compute again than to keep for the backward pass.

A layer that multiplies the output of a norm keeps it for the gradient of its weight, though the norm keeps its input,
of which the output is made in one pass over memory. Inside `keeping_less`, what keeps a result of `recomputed` keeps
how to make it in its place: the function and its inputs, which are again results of the kind or tensors that something
keeps anyway. The backward pass then calls the function again, once for all that ask, with the autocast of the forward
pass; its gradients are the same bits. On other devices than the CPU, and in graphs, everything is kept as always.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .dispatch import makes_graph

_RECIPES: dict[int, tuple[weakref.ref, "_Recipe"]] = {}  # by the storage of a result that is alive


class _View(NamedTuple):
    """A tensor that is made by a recipe, as a view of the recipe's result."""

    recipe: "_Recipe"
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


class _Recipe:
    """How a result is made.

    Args:
        function: of the inputs, without random numbers.
        inputs: tensors of any shape, or None.
    """

    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Tensor | None, ...]):
        self.function = function
        self.inputs: tuple[Any, ...] = tuple(None if one is None else one.detach() for one in inputs)
        self.autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        self.asked = 0  # how often the backward pass will ask for the result
        self.result: Tensor | None = None

    def pack(self) -> None:
        """Counts one more that asks, and lets go of inputs that have a recipe themselves."""
        if not self.asked:
            self.inputs = tuple(_pack(one) if isinstance(one, Tensor) else one for one in self.inputs)
        self.asked += 1

    def make(self) -> Tensor:
        """The result, which stays until the last of those that ask has it."""
        result = self.result
        if result is None:
            enabled, dtype = self.autocast
            with torch.no_grad(), torch.autocast("cpu", dtype, enabled=enabled):
                result = self.function(*(None if one is None else _unpack(one) for one in self.inputs))
        self.asked -= 1
        self.result = result if self.asked > 0 else None
        return result


def recomputed(function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """`function(*inputs)`, of any shapes, which is not kept for a backward pass where `keeping_less` is on.

    Args:
        function: cheap, and without random numbers; what else it reads must not change before the backward pass.
    """
    result = function(*inputs)
    if _Active.depth and torch.is_grad_enabled() and result.device.type == "cpu" and result.requires_grad:
        key = result.untyped_storage()._cdata
        if any(one is not None and one.untyped_storage()._cdata == key for one in inputs):
            return result  # an input, or a view of one
        _RECIPES[key] = weakref.ref(result, lambda _: _RECIPES.pop(key, None)), _Recipe(function, inputs)
    return result


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x.to(dtype)`, (..., C) -> (..., C), of which nothing more is kept where `x` is not kept either."""
    if x.dtype != dtype and _recipe_of(x) is not None:
        return recomputed(lambda x: x.to(dtype), x)
    return x.to(dtype)


def keep(x: Tensor) -> None:
    """From now on what keeps `x`, (..., C), keeps the tensor itself."""
    _RECIPES.pop(x.untyped_storage()._cdata, None)


class _Active:
    depth = 0  # of `keeping_less`
    never = False  # within `keeping_everything`


def may_recompute() -> bool:
    """Whether a backward pass may compute again of its own accord."""
    return not _Active.never


@contextmanager
def keeping_everything() -> Iterator[None]:
    """Nothing inside is computed again of its own accord: for counts of memory that are to hold for other devices."""
    before, _Active.never = _Active.never, True
    try:
        yield
    finally:
        _Active.never = before


@contextmanager
def keeping_less() -> Iterator[None]:
    """Results of `recomputed` are not kept by what is computed inside."""
    if makes_graph() or _Active.never or not torch.is_grad_enabled():
        yield
        return
    _Active.depth += 1
    try:
        with torch.autograd.graph.saved_tensors_hooks(_pack, _unpack):
            yield
    finally:
        _Active.depth -= 1


def _recipe_of(tensor: Tensor) -> _Recipe | None:
    found = _RECIPES.get(tensor.untyped_storage()._cdata) if _RECIPES else None
    return None if found is None else found[1]


def _pack(tensor: Tensor) -> Tensor | _View:
    """(...) -> what is kept of it."""
    recipe = _recipe_of(tensor)
    if recipe is None:
        return tensor
    recipe.pack()
    return _View(recipe, tensor.shape, tensor.stride(), int(tensor.storage_offset()))


def _unpack(kept: Tensor | _View) -> Tensor:
    """What `_pack` made -> (...)."""
    if isinstance(kept, Tensor):
        return kept
    return kept.recipe.make().as_strided(kept.shape, kept.stride, kept.offset)

"""Which module first makes a value that is not finite out of finite ones, in the forward and in the backward pass."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from focalnet_d2.utils.tensors import tensors_in

_TORCH = os.path.dirname(torch.__file__)


class Findings(NamedTuple):
    """Sentences without a full stop; None where nothing was found.

    Attributes:
        forward: the first module whose output is not finite, and what went into it.
        backward: the first one in whose backward pass a gradient stopped being finite.
    """

    forward: str | None
    backward: str | None


class _Call:
    """A module at work.

    Args:
        name, module: of it.
        inputs: what it gets.
    """

    def __init__(self, name: str, module: nn.Module, inputs: list[Tensor]) -> None:
        self.title = f"{name or 'the model itself'} ({type(module).__name__})"
        self.module = module
        self.had_nan, self.had_inf = _nan_and_inf(inputs)
        self.inputs = ranges(inputs)
        self.means_inf = False  # infinity is written in its code
        self.operation = ""  # the first whose result is not finite
        self.start = self.end = _sequence_number()

    def describe(self, outputs: list[Tensor]) -> str:
        """The finding, if this is the first module."""
        bad, count = sum(int((~value.isfinite()).sum()) for value in outputs), sum(map(Tensor.numel, outputs))
        kind = "NaN" if _nan_and_inf(outputs)[0] else "infinity"
        weights = [name for name, value in self.module.named_parameters(recurse=False) if not value.isfinite().all()]
        return (
            f"{self.title} makes {kind} ({bad} of {count} numbers) from inputs {self.inputs}"
            + (f", by {self.operation}" if self.operation else "")
            + (f"; its {', '.join(weights)} was not finite before" if weights else "")
        )


class FiniteTrace(TorchFunctionMode):
    """A context in which passes through a model are watched; they take several times as long.

    A module has made NaN if none went in; it has made infinity if neither went in and its code does not say infinity,
    as for boxes on padding.

    Args:
        model: without a distributed wrapper.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.findings = Findings(None, None)
        self._calls: list[_Call] = []  # at work, the innermost last
        self._done: list[_Call] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> "FiniteTrace":
        for name, module in self.model.named_modules():
            self._hooks.append(module.register_forward_pre_hook(partial(self._begin, name), with_kwargs=True))
            self._hooks.append(module.register_forward_hook(self._end))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.backward and args[0].grad_fn is not None:
            self._watch(args[0].grad_fn)
        result = function(*args, **kwargs)
        if self._calls:
            self._note(function, [*args, *kwargs.values()], result)
        return result

    def _note(self, function: Callable, arguments: list[Any], result: Any) -> None:
        """An operation of the innermost module at work, or of its torch functions."""
        if any(isinstance(value, float) and math.isinf(value) for value in arguments):
            for outer in self._calls:
                outer.means_inf = True
            return
        call = self._calls[-1]
        is_first = not call.operation and any(_nan_and_inf(list(floats_in(result))))
        if is_first and not any(_nan_and_inf(list(floats_in(arguments)))):
            call.operation = f"{getattr(function, '__name__', function)} at {_place()}"

    def _begin(self, name: str, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self._calls.append(_Call(name, module, list(floats_in((args, kwargs)))))

    def _end(self, module: nn.Module, args: tuple, output: Any) -> None:
        call = self._calls.pop()
        call.end = _sequence_number()
        self._done.append(call)
        outputs = list(floats_in(output))
        nan, inf = _nan_and_inf(outputs)
        has_made = (nan and not call.had_nan) or (inf and not (call.had_inf or call.had_nan or call.means_inf))
        if has_made and self.findings.forward is None:
            self.findings = self.findings._replace(forward=call.describe(outputs))

    def _watch(self, root: Any) -> None:
        """Look at every gradient on the way from a loss to the weights."""
        seen, found = {root}, [root]
        while found:
            node = found.pop()
            node.register_hook(partial(self._look, node.name(), node._sequence_nr()))
            following = [other for other, _ in node.next_functions if other is not None and other not in seen]
            seen.update(following)
            found += following

    def _look(self, operation: str, sequence: int, made: tuple, given: tuple) -> None:
        if self.findings.backward is not None:
            return
        before = [value for value in given if value is not None]
        bad = [value for value in made if value is not None and not value.isfinite().all()]
        if bad and all(value.isfinite().all() for value in before):
            inside = [call for call in self._done if call.start <= sequence < call.end]
            where = min(inside, key=lambda call: call.end - call.start).title if inside else "no module"
            text = f"{operation} in {where} makes a gradient that is not finite from gradients {ranges(before)}"
            self.findings = self.findings._replace(backward=text)


def floats_in(value: Any) -> Iterator[Tensor]:
    """The tensors of floating-point numbers in nested containers, of any shapes, without those that hold none."""
    return (tensor.detach() for tensor in tensors_in(value) if tensor.is_floating_point() and tensor.numel())


def _sequence_number() -> int:
    """What the next operation that has a gradient will have as its number in this thread."""
    return torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]


def ranges(tensors: list[Tensor]) -> str:
    """`between -1.5 and 3`, of the finite numbers of tensors of any shapes, and what else there is."""
    finite = [part for value in tensors if (part := value[value.isfinite()]).numel()]
    nan, inf = _nan_and_inf(tensors)
    others = [name for name, there in (("NaN", nan), ("infinity", inf)) if there]
    if not finite:
        return f"that are {' and '.join(others)}" if others else "without numbers"
    low, high = min(float(part.min()) for part in finite), max(float(part.max()) for part in finite)
    return f"between {low:.4g} and {high:.4g}" + (f" and {' and '.join(others)}" if others else "")


def _nan_and_inf(tensors: list[Tensor]) -> tuple[bool, bool]:
    return any(bool(value.isnan().any()) for value in tensors), any(bool(value.isinf().any()) for value in tensors)


def _place() -> str:
    """File and line of the innermost code that is neither torch's nor of this module."""
    frame = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename.startswith(_TORCH) or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno}"

"""Runs of detectors as the golden numbers were made: float64 throughout, fixed samples; and float32 that follows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class FixedSamples(TorchFunctionMode):
    """`torch.randperm(n)` is one permutation for each n."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.randperm:
            return torch.from_numpy(np.random.RandomState(args[0]).permutation(int(args[0])))
        return func(*args, **(kwargs or {}))


class Float64Throughout(TorchFunctionMode):
    """What asks for float32 gets float64: Detectron2 and our models do in many places."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = {name: self._wider(value) for name, value in (kwargs or {}).items()}
        if func is Tensor.float:
            return args[0].double()
        if func is F.grid_sample:
            return func(args[0].double(), args[1].double(), *args[2:], **kwargs)
        return func(*(self._wider(value) for value in args), **kwargs)

    @staticmethod
    def _wider(value: Any) -> Any:
        return torch.float64 if value is torch.float32 else value


@contextmanager
def precision(dtype: torch.dtype) -> Iterator[None]:
    """Everything inside in `dtype`, with fixed samples."""
    if dtype == torch.float32:
        with FixedSamples():
            yield
        return
    torch.set_default_dtype(torch.float64)
    try:
        with FixedSamples(), Float64Throughout():
            yield
    finally:
        torch.set_default_dtype(torch.float32)


class SameDecisions:
    """Makes a float32 run of a detector choose what the float64 run chose.

    Suppression, the best of nearly equal overlaps and therefore the samples follow rounding, in mmdetection, too, whose
    float32 losses differ from its own float64 ones by up to 35 %. Sparse R-CNN's six stages of 300 proposals carry
    rounding on until a tenth of the digits is left: each stage starts from the float64 run's boxes and features.
    Run the float64 model inside `record` and the float32 model inside `replay`.
    """

    def __init__(self):
        self.kept: dict[str, list[Any]] = {}

    @contextmanager
    def record(self, model: nn.Module) -> Iterator[None]:
        with self._patched(model, self._record):
            yield

    @contextmanager
    def replay(self, model: nn.Module) -> Iterator[None]:
        calls = {name: iter(values) for name, values in self.kept.items()}
        with self._patched(model, lambda name, value: _as_float32(next(calls[name]), value)):
            yield
        assert [name for name, rest in calls.items() if next(rest, None) is not None] == []

    def _record(self, name: str, value: Any) -> Any:
        self.kept.setdefault(name, []).append(value)
        return value

    @staticmethod
    @contextmanager
    def _patched(model: nn.Module, action) -> Iterator[None]:
        places = list(_decisions_of(model))
        for owner, method, argument in places:
            name = f"{type(owner).__name__}.{method}"
            setattr(owner, method, _wrapped(getattr(owner, method), name, argument, action))
        try:
            yield
        finally:
            for owner, method, _ in places:
                delattr(owner, method)


def _decisions_of(model: nn.Module) -> Iterator[tuple[Any, str, int | None]]:
    """Object, method, and the argument that is decided (None: what the method returns)."""
    if hasattr(model, "proposal_generator"):
        yield model.proposal_generator, "label_and_sample_anchors", None
        yield model.proposal_generator, "predict_proposals", None
        heads = model.roi_heads
        yield heads, "_sample" if hasattr(heads, "_sample") else "label_and_sample_proposals", None
    elif hasattr(model, "head"):
        yield model.head.pooler, "forward", 1
        yield model.criterion.matcher, "match_sets", None
        for stage in model.head.stages:
            yield stage, "forward", 0


def _wrapped(method, name: str, argument: int | None, action):
    def run(*args, **kwargs):
        if argument is None:
            return action(name, method(*args, **kwargs))
        decided = action(name, args[argument])
        return method(*args[:argument], decided, *args[argument + 1 :], **kwargs)

    return run


def _as_float32(kept: Any, own: Any) -> Any:
    """The recorded value in float32; tensors keep the gradient of the run's own."""
    if isinstance(kept, Tensor) and kept.is_floating_point():
        value = kept.detach().float()
        return own + (value - own).detach() if isinstance(own, Tensor) and own.requires_grad else value
    if isinstance(kept, Boxes):
        return Boxes(kept.tensor.detach().float())
    if isinstance(kept, Instances):
        fields = {name: _as_float32(value, None) for name, value in kept.get_fields().items()}
        return Instances(kept.image_size, **fields)
    if isinstance(kept, list | tuple):
        return type(kept)(_as_float32(value, None) for value in kept)
    return kept

"""The numbers that a model computes in: autocast, and what evaluation and Detectron2's predictor put around a model."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn

from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul

from .device import resolve_amp


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager:
    """Autocast to `dtype`; None changes nothing."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)


@contextmanager
def inference_precision(device: torch.device, amp: str = "off") -> Iterator[None]:
    """What a model predicts in: the autocast of `train.amp` in evaluation, and the faster exact products on a CPU."""
    with fast_cpu_matmul(device), autocast(device, resolve_amp(amp, device, training=False)):
        yield


def predict_in(model: nn.Module, amp: str) -> nn.Module:
    """Put every call of the model inside `inference_precision`, for callers that are not ours; returns the model."""
    scopes = _Scopes(partial(inference_precision, amp=amp))
    model.register_forward_pre_hook(scopes.enter)
    model.register_forward_hook(scopes.leave, always_call=True)
    return model


class _Scopes:
    """The contexts of the calls that are going on.

    Args:
        make: of the device of the model's parameters.
    """

    def __init__(self, make: Callable[[torch.device], AbstractContextManager]):
        self.make = make
        self.opened: list[AbstractContextManager] = []

    def enter(self, model: nn.Module, inputs: object) -> None:
        """Before a call."""
        scope = self.make(next(model.parameters()).device)
        scope.__enter__()
        self.opened.append(scope)

    def leave(self, model: nn.Module, inputs: object, outputs: object) -> None:
        """After a call, also after one that raised."""
        self.opened.pop().__exit__(None, None, None)

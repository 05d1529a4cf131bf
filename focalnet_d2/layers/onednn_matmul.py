"""torch's setting of the precision of float32 products, which on the CPU also says who computes them.

torch takes oneDNN for them only when it is told that they may be rounded like those of bf16; on most processors they
are then still float32 (see `focalnet_d2.engine.cpu_matmul`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_FLOAT32 = ("none", "ieee", "highest")  # the settings that leave products in float32


def _has_own_setting() -> bool:
    """torch 2.9 and later have a setting for oneDNN alone; the older one is for all devices."""
    return hasattr(torch.backends.mkldnn, "matmul")


def is_full_precision() -> bool:
    """Whether the user has left products of float32 as they are by default."""
    return _precision() in _FLOAT32


def onednn_multiplies_float32() -> bool:
    """Whether products of float32 matrices go to oneDNN now."""
    return torch.backends.mkldnn.is_available() and _precision() == _onednn_precision()


@contextmanager
def onednn_matmul() -> Iterator[None]:
    """Products of float32 matrices go to oneDNN inside, where torch has it."""
    before = _precision()
    _set_precision(_onednn_precision())
    try:
        yield
    finally:
        _set_precision(before)


def _onednn_precision() -> str:
    return "bf16" if _has_own_setting() else "medium"


def _precision() -> str:
    if _has_own_setting():
        return torch.backends.mkldnn.matmul.fp32_precision
    return torch.get_float32_matmul_precision()


def _set_precision(precision: str) -> None:
    if _has_own_setting():
        torch.backends.mkldnn.matmul.fp32_precision = precision
    else:
        torch.set_float32_matmul_precision(precision)

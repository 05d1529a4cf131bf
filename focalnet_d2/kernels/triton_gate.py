"""Whether CUDA takes the Triton kernels of this package: only when asked to, and only where they run."""

import importlib
import os
from functools import cache

import torch

KERNELS = ("deformable_attention_triton", "focal_context_triton")  # modules of this package, each with a `try_out`


def why_not_triton(kernels: str, device_type: str = "cuda") -> str:
    """Why these kernels are not taken on a usable device of this type, in one line; empty when they are."""
    if device_type != "cuda":
        return "the Triton kernels are for CUDA"
    if os.environ.get("FOCALNET_D2_TRITON") != "1":
        return "the Triton kernels were not yet run on a card: FOCALNET_D2_TRITON=1 takes them"
    return _problem(kernels, device_type)


@cache
def _problem(kernels: str, device_type: str) -> str:
    """What went wrong when the kernels were tried out, once: no triton, no C compiler, a card too old, ..."""
    try:
        importlib.import_module(f".{kernels}", __package__).try_out(device_type)
    except Exception as error:  # triton and its compilers raise many kinds
        return f"the Triton kernels do not run: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return ""


def triton_serves(kernels: str, device_type: str, dtype: torch.dtype) -> bool:
    """Whether these kernels are the form to take; they sum in float32 and so leave float64 to others."""
    return device_type == "cuda" and dtype != torch.float64 and not why_not_triton(kernels, device_type)

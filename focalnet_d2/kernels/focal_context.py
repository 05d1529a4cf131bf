"""The local context of focal modulation (Focal Modulation Networks, arXiv:2203.11926, equations 4 and 5).

Depthwise convolutions with growing kernels follow one another, and the position's own gates add up what each of them
gives. `focal_context` is the one seam where a faster form can be plugged in: every form in `IMPLEMENTATIONS`,
(context, gates, kernels) -> (local, pooled) for at least one level, computes the same sums, and the first that supports
the device and the type of a call is taken.

Shapes: B images, H x W positions, C channels, L focal levels.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .depthwise_conv import depthwise_conv
from .dispatch import Implementation, find_implementation
from .focal_context_cpp import LIBRARY, focal_context_cpp, supports
from .triton_gate import triton_serves


def _by_convolutions(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Ordinary operators on maps with channels last; the form that the others are checked against."""
    context = context.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)  # (B, C, H, W)
    local = None
    for kernel, gate in zip(kernels, gates.permute(0, 3, 1, 2).split(1, dim=1), strict=True):
        context = F.gelu(depthwise_conv(context, kernel))
        local = context * gate if local is None else torch.addcmul(local, context, gate)
    return local.permute(0, 2, 3, 1), context.mean((2, 3))


def _by_triton(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Kernels that go on from each convolution to its GELU and gate in registers."""
    from .focal_context_triton import focal_context as by_triton

    return by_triton(context, gates, kernels)


IMPLEMENTATIONS: list[Implementation] = [
    Implementation(
        "triton",
        _by_triton,
        partial(triton_serves, "focal_context_triton"),
        "one Triton kernel a level, made at its first call",
    ),
    Implementation(
        "compiled", focal_context_cpp, supports, "C++, compiled here on first use", LIBRARY.unavailable_reason
    ),
    Implementation("plain", _by_convolutions, lambda device_type, dtype: True, "one convolution a level"),
]


def available_implementations(device_type: str, dtype: torch.dtype = torch.float32) -> list[Implementation]:
    """The forms that can serve a device type and dtype, the one that will be taken first."""
    return [form for form in IMPLEMENTATIONS if form.supports(device_type, dtype)]


def focal_context(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], implementation: str | None = None
) -> tuple[Tensor, Tensor]:
    """Gated sum of the focal levels, and the mean of the last one, from which the global context is made.

    With context_l = GELU(depthwise_l(context_{l-1})), zeros around the map, the sum is that of gate_l * context_l.

    Args:
        context: (B, H, W, C), of any strides: it may be a slice of a wider tensor.
        gates: (B, H, W, L), like the context in type and strides.
        kernels: L of shape (C, 1, k, k) with k odd; under autocast of a wider type than the context.
        implementation: name of a form; None takes the first that supports the call.

    Returns:
        (B, H, W, C) sum, and (B, C) mean of context_L over all positions; without levels zeros and context's own mean.

    Raises:
        ValueError: a form that is unknown or missing here, or a number of gates that is not that of the kernels.
    """
    if gates.shape[-1] != len(kernels):
        raise ValueError(f"{gates.shape[-1]} gates of {len(kernels)} focal levels")
    forms = available_implementations(context.device.type, context.dtype)
    if implementation is not None:
        forms = [find_implementation("focal context", IMPLEMENTATIONS, implementation)]
    if not kernels:
        return torch.zeros_like(context), context.mean((1, 2))
    return forms[0].compute(context, gates, kernels)

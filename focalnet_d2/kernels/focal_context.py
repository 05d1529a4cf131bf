"""The local context of focal modulation (Focal Modulation Networks, arXiv:2203.11926, equations 4 and 5).

Depthwise convolutions with growing kernels follow one another, and the position's own gates add up what each of them
gives. Every implementation in `FOCAL_CONTEXT`, (context, gates, kernels) -> (local, pooled) for at least one level,
computes the same sums.

Shapes: B images, H x W positions, C channels, L focal levels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .depthwise_conv import depthwise_conv
from .dispatch import HALF_AND_SINGLE, Computation, Implementation
from .focal_context_cpp import DTYPES, LIBRARY, focal_context_cpp


def _by_convolutions(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Ordinary operators on maps with channels last; the implementation that the others are checked against.

    (B, H, W, C), (B, H, W, L), L times (C, 1, k, k) -> (B, H, W, C), (B, C).
    """
    context = context.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)  # (B, C, H, W)
    (kernel, gate), *others = zip(kernels, gates.permute(0, 3, 1, 2).split(1, dim=1), strict=True)
    context = F.gelu(depthwise_conv(context, kernel))
    local = context * gate
    for kernel, gate in others:
        context = F.gelu(depthwise_conv(context, kernel))
        local = torch.addcmul(local, context, gate)
    return local.permute(0, 2, 3, 1), context.mean((2, 3))


def _by_triton(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Kernels that go on from each convolution to its GELU and gate in registers: shapes of `_by_convolutions`."""
    from .focal_context_triton import focal_context_triton  # it imports triton, which is optional

    return focal_context_triton(context, gates, kernels)


def _try_out_triton(device_type: str) -> None:
    from .focal_context_triton import try_out  # it imports triton, which is optional

    try_out(device_type)


FOCAL_CONTEXT = Computation(
    "focal context",
    (
        Implementation(
            "triton",
            _by_triton,
            "one Triton kernel a level, made at its first call",
            devices=("cuda",),
            dtypes=HALF_AND_SINGLE,
            try_out=_try_out_triton,
        ),
        Implementation(
            "compiled",
            focal_context_cpp,
            "C++, compiled here on first use",
            devices=("cpu",),
            dtypes=DTYPES,
            unavailable_reason=LIBRARY.unavailable_reason,
        ),
        Implementation("plain", _by_convolutions, "one convolution a level"),
    ),
)


def focal_context(
    context: Tensor, gates: Tensor, kernels: Sequence[Tensor], implementation: str | None = None
) -> tuple[Tensor, Tensor]:
    """Gated sum of the focal levels, and the mean of the last one, from which the global context is made.

    With context_l = GELU(depthwise_l(context_{l-1})), zeros around the map, the sum is that of gate_l * context_l.

    Args:
        context: (B, H, W, C), of any strides: it may be a slice of a wider tensor.
        gates: (B, H, W, L), like the context in type and strides.
        kernels: L of shape (C, 1, k, k) with k odd; under autocast of a wider type than the context.
        implementation: the name of one, for tests and measurements; None takes the first that serves the call.

    Returns:
        (B, H, W, C) sum, and (B, C) mean of context_L over all positions; without levels zeros and context's own mean.

    Raises:
        ValueError: an implementation that is unknown or missing here, or a number of gates other than that of kernels.
    """
    if gates.shape[-1] != len(kernels):
        raise ValueError(f"There are {gates.shape[-1]} gates for {len(kernels)} focal levels; each level needs one.")
    if implementation is None:
        chosen = FOCAL_CONTEXT.choose(context.device.type, context.dtype)
    else:
        chosen = FOCAL_CONTEXT.named(implementation)
    if not kernels:
        return torch.zeros_like(context), context.mean((1, 2))
    return chosen.compute(context, gates, kernels)

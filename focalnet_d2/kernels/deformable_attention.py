"""Multi-scale deformable attention (Deformable DETR, arXiv:2010.04159, equation 3).

Each query reads a few points of every level of a feature pyramid, bilinearly, and adds them up with weights that it
predicts itself. Every implementation in `DEFORMABLE_ATTENTION` computes the same sums, (value, spatial_shapes,
sampling_locations, attention_weights) -> (B, Q, M*D). What a new one has to do, and `tests/kernels/` check:

- samples outside a map are zeros; a location that is NaN spoils its own query and nothing else, and raises nothing;
- value, locations and weights have gradients; any number of queries and levels is taken;
- it gets float32 or wider unless it says `takes_half`, and gives the type that it got;
- the list is in the order of preference, and its last entry serves every device and type.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from .deformable_attention_cpp import LIBRARY, deformable_attention_cpp
from .deformable_attention_gather import deformable_attention_gather
from .deformable_attention_table import deformable_attention_table
from .dispatch import FLOATING, HALF_AND_SINGLE, Computation, Implementation

SpatialShapes = Sequence[tuple[int, int]]  # (h, w) of every level


def _by_grid_sample(value: Tensor, spatial_shapes: SpatialShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One `grid_sample` for each level; the plain implementation that the others are checked against.

    (B, N, M, D), (h, w) of L levels, (B, Q, M, L, P, 2), (B, Q, M, L, P) -> (B, Q, M*D).
    """
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    grid = (2 * locations - 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (B*M, L, Q, P, 2)
    sampled, start = [], 0
    for level, (h, w) in enumerate(spatial_shapes):
        tokens = value[:, start : start + h * w]  # a split would hold the sizes of the traced images
        start = start + h * w
        feature_map = tokens.permute(0, 2, 3, 1).reshape(batch * heads, channels, h, w)
        sampled.append(F.grid_sample(feature_map, grid[:, level], align_corners=False))  # (B*M, D, Q, P)
    flat_weights = weights.permute(0, 2, 1, 3, 4).reshape(batch * heads, 1, queries, -1)  # (B*M, 1, Q, L*P)
    summed = (torch.cat(sampled, dim=-1) * flat_weights).sum(-1)  # (B*M, D, Q)
    return summed.view(batch, heads * channels, queries).transpose(1, 2)


def _by_triton(value: Tensor, spatial_shapes: SpatialShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One kernel that keeps the samples in registers: arguments and result of `_by_grid_sample`."""
    from .deformable_attention_triton import deformable_attention_triton  # it imports triton, which is optional

    return deformable_attention_triton(value, spatial_shapes, locations, weights)


def _try_out_triton(device_type: str) -> None:
    from .deformable_attention_triton import try_out  # it imports triton, which is optional

    try_out(device_type)


DEFORMABLE_ATTENTION = Computation(
    "deformable attention",
    (
        Implementation(
            "triton",
            _by_triton,
            "one Triton kernel, made at its first call",
            devices=("cuda",),
            dtypes=HALF_AND_SINGLE,
            try_out=_try_out_triton,
            takes_half=True,
        ),
        Implementation(
            "compiled",
            deformable_attention_cpp,
            "C++, compiled here on first use",
            devices=("cpu",),
            dtypes=FLOATING,
            unavailable_reason=LIBRARY.unavailable_reason,
            takes_half=True,
        ),
        Implementation(
            "table_lookup", deformable_attention_table, "no compiler: one weighted table lookup", devices=("cpu",)
        ),
        Implementation("grid_sample", _by_grid_sample, "no compiler: one grid_sample call a level"),
        Implementation("gather", deformable_attention_gather, "for exported graphs: gathered texels and their sums"),
    ),
    portable="gather",
)


def deformable_attention(
    value: Tensor,
    spatial_shapes: SpatialShapes,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    implementation: str | None = None,
) -> Tensor:
    """Weighted sum of bilinear samples; zeros outside the maps.

    Half precision is summed in float32, and the result is narrowed again.

    Args:
        value: (B, N, M, D), the tokens of all levels one after the other.
        spatial_shapes: (h, w) of every level as integers.
        sampling_locations: (B, Q, M, L, P, 2) as (x, y), 0 and 1 on the borders of a map.
        attention_weights: (B, Q, M, L, P).
        implementation: the name of one, for tests and measurements; None takes the first that serves the call.

    Returns:
        (B, Q, M*D).

    Raises:
        ValueError: an implementation that is unknown or missing here, or shapes that do not fill N tokens.
    """
    if sum(h * w for h, w in spatial_shapes) != value.shape[1]:
        raise ValueError(f"Levels of {list(spatial_shapes)} do not make {value.shape[1]} tokens.")
    if implementation is None:
        chosen = DEFORMABLE_ATTENTION.choose(value.device.type, value.dtype)
    else:
        chosen = DEFORMABLE_ATTENTION.named(implementation)
    tensors = value, sampling_locations, attention_weights
    if not chosen.takes_half:
        dtype = torch.promote_types(value.dtype, torch.float32)
        tensors = tuple(tensor.to(dtype) for tensor in tensors)
    with _without_autocast(value.device.type):
        return chosen.compute(tensors[0], spatial_shapes, *tensors[1:]).to(value.dtype)


def _without_autocast(device_type: str) -> AbstractContextManager:
    """Ends autocast where it is on; where it is not, an exported graph shall hold no region of it."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()

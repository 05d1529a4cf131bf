"""Multi-scale deformable attention (Deformable DETR, arXiv:2010.04159, equation 3).

Each query reads a few points of every level of a feature pyramid, bilinearly, and adds them up with weights that it
predicts itself. `deformable_attention` is the one seam where a faster form can be plugged in: every form in
`IMPLEMENTATIONS` computes the same sums, (value, spatial_shapes, sampling_locations, attention_weights) -> (B, Q, M*D),
and the first that supports the device and the type of a call is taken.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from .deformable_attention_cpp import LIBRARY, deformable_attention_cpp
from .deformable_attention_table import deformable_attention_table
from .dispatch import Implementation, find_implementation
from .triton_gate import triton_serves

SpatialShapes = Sequence[tuple[int, int]]  # (h, w) of every level


def _by_grid_sample(value: Tensor, spatial_shapes: SpatialShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One `grid_sample` for each level; the plain form that the others are checked against."""
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    sizes = [h * w for h, w in spatial_shapes]
    grid = (2 * locations - 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 1)  # (B*M, L, Q, P, 2)
    sampled = []
    for level, tokens in enumerate(value.split(sizes, dim=1)):
        feature_map = tokens.permute(0, 2, 3, 1).reshape(batch * heads, channels, *spatial_shapes[level])
        sampled.append(F.grid_sample(feature_map, grid[:, level], align_corners=False))  # (B*M, D, Q, P)
    flat_weights = weights.permute(0, 2, 1, 3, 4).reshape(batch * heads, 1, queries, -1)  # (B*M, 1, Q, L*P)
    summed = (torch.cat(sampled, dim=-1) * flat_weights).sum(-1)  # (B*M, D, Q)
    return summed.view(batch, heads * channels, queries).transpose(1, 2)


def _by_triton(value: Tensor, spatial_shapes: SpatialShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """One kernel that keeps the samples in registers."""
    from .deformable_attention_triton import weighted_samples

    return weighted_samples(value, spatial_shapes, locations, weights)


IMPLEMENTATIONS: list[Implementation] = [
    Implementation(
        "triton",
        _by_triton,
        partial(triton_serves, "deformable_attention_triton"),
        "one Triton kernel, made at its first call",
        takes_half=True,
    ),
    Implementation(
        "compiled",
        deformable_attention_cpp,
        lambda device_type, dtype: device_type == "cpu" and dtype.is_floating_point and LIBRARY.load() is not None,
        "C++, compiled here on first use",
        LIBRARY.unavailable_reason,
        takes_half=True,
    ),
    Implementation(
        "table_lookup",
        deformable_attention_table,
        lambda device_type, dtype: device_type == "cpu",
        "no compiler: one weighted table lookup",
    ),
    Implementation(
        "grid_sample",
        _by_grid_sample,
        lambda device_type, dtype: True,
        "no compiler: one grid_sample call a level",
    ),
]


def available_implementations(device_type: str, dtype: torch.dtype = torch.float32) -> list[Implementation]:
    """The forms that can serve a device type and dtype, the one that will be taken first."""
    return [one for one in IMPLEMENTATIONS if one.supports(device_type, dtype)]


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
        implementation: name of a form; None takes the first that supports the call.

    Returns:
        (B, Q, M*D).

    Raises:
        ValueError: a form that is unknown or missing here, or shapes that do not fill N tokens.
    """
    if sum(h * w for h, w in spatial_shapes) != value.shape[1]:
        raise ValueError(f"spatial_shapes {list(spatial_shapes)} do not make {value.shape[1]} tokens")
    implementations = available_implementations(value.device.type, value.dtype)
    if implementation is not None:
        implementations = [find_implementation("deformable attention", IMPLEMENTATIONS, implementation)]
    tensors = value, sampling_locations, attention_weights
    if not implementations[0].takes_half:
        dtype = torch.promote_types(value.dtype, torch.float32)
        tensors = tuple(tensor.to(dtype) for tensor in tensors)
    with torch.autocast(value.device.type, enabled=False):
        return implementations[0].compute(tensors[0], spatial_shapes, *tensors[1:]).to(value.dtype)

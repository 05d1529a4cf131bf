"""Multi-scale deformable attention (Deformable DETR, arXiv:2010.04159, equation 3).

Each query reads a few points of every level of a feature pyramid, bilinearly, and adds them up with weights that it
predicts itself. `deformable_attention` is the one seam where a faster form can be plugged in: every form in
`IMPLEMENTATIONS` computes the same sums, (value, spatial_shapes, sampling_locations, attention_weights) -> (B, Q, M*D),
and the first that supports the device and the type of a call is taken.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .compiled_deformable_attention import LIBRARY, by_compiled_kernel
from .fused_linear import linear_with
from .implementations import Implementation, find_implementation
from .table_lookup import by_table_lookup
from .triton_choice import triton_serves

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
    from .triton_deformable_attention import weighted_samples

    return weighted_samples(value, spatial_shapes, locations, weights)


IMPLEMENTATIONS: list[Implementation] = [
    Implementation(
        "triton",
        _by_triton,
        partial(triton_serves, "triton_deformable_attention"),
        "one Triton kernel, made at its first call",
        takes_half=True,
    ),
    Implementation(
        "compiled",
        by_compiled_kernel,
        lambda device_type, dtype: device_type == "cpu" and dtype.is_floating_point and LIBRARY.load() is not None,
        "C++, compiled here on first use",
        LIBRARY.obstacle,
        takes_half=True,
    ),
    Implementation(
        "table_lookup",
        by_table_lookup,
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
    return [form for form in IMPLEMENTATIONS if form.supports(device_type, dtype)]


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
    forms = available_implementations(value.device.type, value.dtype)
    if implementation is not None:
        forms = [find_implementation("deformable attention", IMPLEMENTATIONS, implementation)]
    tensors = value, sampling_locations, attention_weights
    if not forms[0].takes_half:
        dtype = torch.promote_types(value.dtype, torch.float32)
        tensors = tuple(tensor.to(dtype) for tensor in tensors)
    with torch.autocast(value.device.type, enabled=False):
        return forms[0].compute(tensors[0], spatial_shapes, *tensors[1:]).to(value.dtype)


def level_sizes(spatial_shapes: SpatialShapes, like: Tensor) -> Tensor:
    """(L, 2) as (w, h), made where `like` is: a copy from the host would wait, and no CUDA graph may hold one."""
    return torch.stack([like.new_full((), side) for h, w in spatial_shapes for side in (w, h)]).view(-1, 2)


class MultiScaleDeformableAttention(nn.Module):
    """Deformable attention with its projections; offsets and weights are linear in the query.

    Args:
        dim: channels C of queries and tokens.
        num_levels: levels L.
        num_heads: heads M, a divisor of C.
        num_points: points P that a head reads in each level.
    """

    def __init__(self, dim: int = 256, *, num_levels: int = 4, num_heads: int = 8, num_points: int = 4):
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        self.num_levels = num_levels
        self.num_heads = num_heads
        self.num_points = num_points
        points = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(dim, 2 * points)
        self.attention_weights = nn.Linear(dim, points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Head h starts by looking in direction 2 pi h / M, point p at a (Chebyshev) distance of p + 1 texels."""
        angles = 2 * math.pi * torch.arange(self.num_heads) / self.num_heads
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)  # (M, 2)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        distances = torch.arange(1, self.num_points + 1).view(1, 1, -1, 1)
        offsets = directions[:, None, None] * distances  # (M, 1, P, 2)
        with torch.no_grad():
            bias = self.sampling_offsets.bias.view(self.num_heads, self.num_levels, self.num_points, 2)
            bias.copy_(offsets.expand_as(bias))
        for zeroed in (
            self.sampling_offsets.weight,
            self.attention_weights.weight,
            self.attention_weights.bias,
        ):
            nn.init.zeros_(zeroed)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        memory: Tensor,
        spatial_shapes: SpatialShapes,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Reads the memory around reference points.

        Args:
            query: (B, Q, C), position included.
            reference_points: (B, Q, L, 2) xy, offsets then count texels; or (B, Q, L, 4) cxcywh, offsets then count
                half box sides divided by P.
            memory: (B, N, C).
            spatial_shapes: (h, w) of every level.
            padding_mask: (B, N) bool, True = padding, read as zeros.

        Returns:
            (B, Q, C).
        """
        per_head = (*query.shape[:2], self.num_heads, -1)
        per_point = (*per_head[:3], self.num_levels, self.num_points)
        value = linear_with("none", self.value_proj, memory)  # (B, N, C)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))  # (B, N, M, D)
        offsets = linear_with("none", self.sampling_offsets, query).view(per_head)  # (B, Q, M, L*P*2)
        weights = linear_with("none", self.attention_weights, query).view(per_head).softmax(-1).view(per_point)
        locations = self._locate(offsets, reference_points, spatial_shapes).view(*per_point, 2)
        read = deformable_attention(value, spatial_shapes, locations, weights)  # (B, Q, C)
        return linear_with("none", self.output_proj, read)

    def _locate(self, offsets: Tensor, reference_points: Tensor, spatial_shapes: SpatialShapes) -> Tensor:
        """Offsets (B, Q, M, L*P*2) from reference points -> locations of that shape, in float32 at least."""
        centres, *sides = reference_points[:, :, :, None].split(2, dim=-1)  # (B, Q, L, 1, 2) each
        if sides:
            unit = sides[0] * 0.5 / self.num_points
        else:
            unit = 1.0 / level_sizes(spatial_shapes, centres)[None, None, :, None]  # (1, 1, L, 1, 2)
        dtype = torch.promote_types(offsets.dtype, centres.dtype)
        centres, unit = (  # one row for all heads
            one.expand(-1, -1, -1, self.num_points, -1).flatten(2)[:, :, None].to(dtype) for one in (centres, unit)
        )
        return torch.addcmul(centres, offsets.to(dtype), unit)

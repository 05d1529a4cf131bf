"""The layer of multi-scale deformable attention (Deformable DETR, arXiv:2010.04159, equation 3).

Each query reads a few points of every level of a feature pyramid, bilinearly, and adds them up with weights that it
predicts itself.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points.
"""

import math

import torch
from torch import Tensor, nn

from focalnet_d2.kernels.deformable_attention import SpatialShapes, deformable_attention
from focalnet_d2.kernels.linear import linear_act
from focalnet_d2.kernels.padding import zero_padding


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
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}.")
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
        value = linear_act("none", self.value_proj, memory)  # (B, N, C)
        if padding_mask is not None:
            value = zero_padding(value, padding_mask)
        value = value.view(*value.shape[:2], self.num_heads, -1)  # (B, N, M, D)
        offsets = linear_act("none", self.sampling_offsets, query).view(per_head)  # (B, Q, M, L*P*2)
        weights = linear_act("none", self.attention_weights, query).view(per_head).softmax(-1).view(per_point)
        locations = self._locate(offsets, reference_points, spatial_shapes).view(*per_point, 2)
        sampled = deformable_attention(value, spatial_shapes, locations, weights)  # (B, Q, C)
        return linear_act("none", self.output_proj, sampled)

    def _locate(self, offsets: Tensor, reference_points: Tensor, spatial_shapes: SpatialShapes) -> Tensor:
        """Offsets (B, Q, M, L*P*2) from reference points -> locations of that shape, in float32 at least."""
        centers, *sides = reference_points[:, :, :, None].split(2, dim=-1)  # (B, Q, L, 1, 2) each
        if sides:
            unit = sides[0] * 0.5 / self.num_points
        else:
            unit = 1.0 / level_sizes(spatial_shapes, centers)[None, None, :, None]  # (1, 1, L, 1, 2)
        dtype = torch.promote_types(offsets.dtype, centers.dtype)
        centers, unit = (  # one row for all heads
            one.expand(-1, -1, -1, self.num_points, -1).flatten(2)[:, :, None].to(dtype) for one in (centers, unit)
        )
        return torch.addcmul(centers, offsets.to(dtype), unit)

"""Transformer encoder with deformable self-attention over a feature pyramid (arXiv:2010.04159, section 4.1).

DINO and Mask2Former's pixel decoder share it. Levels follow each other in one sequence of tokens.

Shapes: B images, N tokens of all levels, C channels, L levels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from focalnet_d2.kernels.deformable_attention import SpatialShapes
from focalnet_d2.kernels.linear import feed_forward
from focalnet_d2.kernels.recomputing import recomputed

from .activation_checkpointing import maybe_checkpoint
from .deformable_attention import MultiScaleDeformableAttention, level_sizes


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """L maps (B, C, H, W) -> (B, N, C), level after level, row after row."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)


def split_levels(tokens: Tensor, spatial_shapes: SpatialShapes) -> list[Tensor]:
    """(B, N, C) -> L maps (B, H, W, C), of which a single image too has its rows one after another in memory."""
    maps, start = [], 0
    for h, w in spatial_shapes:  # a split would hold the sizes of a traced image
        maps.append(tokens[:, start : start + h * w].view(tokens.shape[0], h, w, tokens.shape[2]))
        start = start + h * w
    return maps


def get_valid_ratios(padding_masks: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> Tensor:
    """Unpadded share of each level's sides: L masks (B, H, W), True = padding -> (B, L, 2) as (w, h)."""
    shares = [(~line).to(dtype).mean(-1) for mask in padding_masks for line in (mask[:, 0], mask[:, :, 0])]  # 2L x (B,)
    return torch.stack(shares, dim=-1).unflatten(-1, (-1, 2))


def get_encoder_reference_points(spatial_shapes: SpatialShapes, valid_ratios: Tensor) -> Tensor:
    """Where each token looks from in every level: (B, L, 2) ratios -> (B, N, L, 2), xy over the padded maps.

    A token's centre is taken over the unpadded area of its own level and carried to the others by their ratios.
    """
    centers, sizes = [], level_sizes(spatial_shapes, valid_ratios)
    for level, (h, w) in enumerate(spatial_shapes):
        y = torch.arange(h, dtype=valid_ratios.dtype, device=valid_ratios.device) + 0.5
        x = torch.arange(w, dtype=valid_ratios.dtype, device=valid_ratios.device) + 0.5
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).view(1, h * w, 2)  # (1, HW, 2)
        valid_size = valid_ratios[:, None, level] * sizes[level]  # (B, 1, 2)
        centers.append(grid / valid_size)
    return torch.cat(centers, dim=1)[:, :, None] * valid_ratios[:, None]  # (B, N, L, 2)


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward network, each followed by its norm."""

    def __init__(self, dim: int, ffn_dim: int, dropout: float, **attention):
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(dim, **attention)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        reference_points: Tensor,
        spatial_shapes: SpatialShapes,
        padding_mask: Tensor | None,
    ) -> Tensor:
        """Tokens and position (B, N, C), reference points (B, N, L, 2), mask (B, N) -> (B, N, C)."""
        query = recomputed(torch.add, tokens, position)
        sampled = self.self_attn(query, reference_points, tokens, spatial_shapes, padding_mask)
        tokens = recomputed(self.norm1, tokens + self.dropout(sampled))
        ffn_out = feed_forward(self.linear1, self.linear2, tokens, self.dropout)
        return recomputed(self.norm2, tokens + self.dropout(ffn_out))


class DeformableEncoder(nn.Module):
    """A stack of deformable layers without a final norm.

    Args:
        dim: channels C.
        num_layers: layers; 0 returns the tokens as they are.
        num_levels, num_heads, num_points: see `MultiScaleDeformableAttention`.
        ffn_dim: hidden width of the feed-forward networks.
        dropout: rate behind attention and in the feed-forward networks.
        use_checkpoint: recompute the layers in the backward pass instead of keeping their activations.
        fusion: makes the memory of the tokens that come in and of what each layer leaves, (B, N, C) each; None takes
            what the last layer leaves.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        num_layers: int = 6,
        num_levels: int = 4,
        num_heads: int = 8,
        num_points: int = 4,
        ffn_dim: int = 2048,
        dropout: float = 0.0,
        use_checkpoint: bool = False,
        fusion: nn.Module | None = None,
    ):
        super().__init__()
        self.num_levels = num_levels
        self.use_checkpoint = use_checkpoint
        attention = dict(num_levels=num_levels, num_heads=num_heads, num_points=num_points)
        layers = [DeformableEncoderLayer(dim, ffn_dim, dropout, **attention) for _ in range(num_layers)]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            for linear in (layer.linear1, layer.linear2):
                nn.init.xavier_uniform_(linear.weight)
        self.fusion = fusion

    def forward(
        self,
        tokens: Tensor,
        position: Tensor,
        spatial_shapes: SpatialShapes,
        valid_ratios: Tensor,
        padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Lets the tokens of a pyramid exchange what they hold.

        Args:
            tokens, position: (B, N, C); the position is added to queries only.
            spatial_shapes: (h, w) of every level.
            valid_ratios: (B, L, 2), see `get_valid_ratios`.
            padding_mask: (B, N) bool, True = padding.

        Returns:
            memory (B, N, C).
        """
        reference_points = get_encoder_reference_points(spatial_shapes, valid_ratios)
        stages = [tokens]
        for layer in self.layers:
            arguments = (tokens, position, reference_points, spatial_shapes, padding_mask)
            tokens = maybe_checkpoint(layer, *arguments, recompute=self.use_checkpoint)
            if self.fusion is not None:
                stages.append(tokens)
        return tokens if self.fusion is None else maybe_checkpoint(self.fusion, *stages, recompute=self.use_checkpoint)

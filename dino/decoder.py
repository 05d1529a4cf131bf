"""DINO's decoder: self-attention, deformable cross-attention, and boxes refined layer by layer.

"Look forward twice" (arXiv:2203.03605, section 3.5): the box that layer i is judged by starts from the box that layer
i - 1 refined, with its gradient; the box that layer i works with starts from the same one without it.

Shapes: B images, Q queries, N tokens of all levels, C channels, L levels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from focalnet_d2.kernels.deformable_attention import SpatialShapes
from focalnet_d2.kernels.linear import feed_forward
from focalnet_d2.layers.activation_checkpointing import maybe_checkpoint
from focalnet_d2.layers.box_ops import inverse_sigmoid
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from focalnet_d2.layers.mlp import MLP
from focalnet_d2.layers.position_encoding import encode_reference_points


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward network, each followed by its norm.

    The norms are numbered as in the published weights: `norm2` follows self-attention, `norm1` cross-attention.
    """

    def __init__(self, dim: int, ffn_dim: int, dropout: float, num_heads: int, **attention):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, num_heads, dropout=dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.cross_attn = MultiScaleDeformableAttention(dim, num_heads=num_heads, **attention)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm3 = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        for weight in (self.self_attn.out_proj.weight, self.linear1.weight, self.linear2.weight):
            nn.init.xavier_uniform_(weight)

    def forward(
        self,
        query_feat: Tensor,
        query_embed: Tensor,
        reference_boxes: Tensor,
        memory: Tensor,
        spatial_shapes: SpatialShapes,
        padding_mask: Tensor | None,
        attn_mask: Tensor | None,
    ) -> Tensor:
        """(B, Q, C) content and position, (B, Q, L, 4) boxes, (B, N, C) memory -> (B, Q, C)."""
        query_with_pos = query_feat + query_embed
        attended = self.self_attn(
            query_with_pos, query_with_pos, query_feat, attn_mask=attn_mask, need_weights=False
        )[0]  # fmt: skip
        query_feat = self.norm2(query_feat + self.dropout(attended))
        sampled = self.cross_attn(query_feat + query_embed, reference_boxes, memory, spatial_shapes, padding_mask)
        query_feat = self.norm1(query_feat + self.dropout(sampled))
        ffn_out = feed_forward(self.linear1, self.linear2, query_feat, self.dropout)
        return self.norm3(query_feat + self.dropout(ffn_out))


class DINODecoder(nn.Module):
    """Layers that turn queries into objects.

    Args:
        dim: channels C.
        num_layers: layers.
        num_levels, num_heads, num_points: see `MultiScaleDeformableAttention`.
        ffn_dim: hidden width of the feed-forward networks.
        dropout: rate behind attention and in the feed-forward networks.
        use_checkpoint: recompute the layers in the backward pass instead of keeping their activations.
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
    ):
        super().__init__()
        self.dim = dim
        self.use_checkpoint = use_checkpoint
        attention = dict(num_levels=num_levels, num_heads=num_heads, num_points=num_points)
        self.layers = nn.ModuleList(DecoderLayer(dim, ffn_dim, dropout, **attention) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)
        self.ref_point_head = MLP(2 * dim, dim, dim, num_layers=2)
        for parameter in self.ref_point_head.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        query_feat: Tensor,
        box_logits: Tensor,
        memory: Tensor,
        spatial_shapes: SpatialShapes,
        valid_ratios: Tensor,
        *,
        bbox_embed: Sequence[nn.Module],
        padding_mask: Tensor | None = None,
        attn_mask: Tensor | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Refines queries and their boxes.

        Args:
            query_feat: (B, Q, C) content.
            box_logits: (B, Q, 4) first boxes before the sigmoid.
            memory: (B, N, C); padding_mask: (B, N) bool, True = padding.
            spatial_shapes, valid_ratios: (h, w) and (B, L, 2) of every level.
            bbox_embed: the box head of every layer.
            attn_mask: (Q, Q) bool, True = blocked.

        Returns:
            For every layer its normed states (B, Q, C), and the boxes (B, Q, 4) in [0, 1] that its prediction is
            relative to.
        """
        ratios = valid_ratios.repeat(1, 1, 2)[:, None]  # (B, 1, L, 4)
        reference = box_logits.sigmoid()
        hidden_states, references = [], []
        for layer, bbox_head in zip(self.layers, bbox_embed, strict=True):
            references.append(reference)
            working = reference.detach()
            scaled = working[:, :, None] * ratios  # (B, Q, L, 4)
            position = encode_reference_points(scaled[:, :, 0], self.dim // 2)  # (B, Q, 2C)
            query_embed = self.ref_point_head(position.to(query_feat.dtype))
            arguments = (query_feat, query_embed, scaled, memory, spatial_shapes, padding_mask, attn_mask)
            query_feat = maybe_checkpoint(layer, *arguments, recompute=self.use_checkpoint)
            reference = refine_boxes(bbox_head, query_feat, working)
            hidden_states.append(self.norm(query_feat))
        return hidden_states, references


def refine_boxes(bbox_head: nn.Module, states: Tensor, reference: Tensor) -> Tensor:
    """Boxes moved by a head: (B, Q, C) states, (B, Q, 4) in [0, 1] -> (B, Q, 4) in [0, 1], in float32 at least."""
    return torch.sigmoid(bbox_head(states).to(reference.dtype) + inverse_sigmoid(reference))

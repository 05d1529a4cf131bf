"""Mask2Former's decoder: queries that look only where they last predicted their mask (arXiv:2112.01527, section 3.2).

The masks for attention come from mask features resized to each level first, which commutes with the product with a
query and saves resizing every query's mask; a bit can differ from the published order by rounding only.

Shapes: B images, Q queries, C channels, E channels of the mask features, K classes, N cells of a level.
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict, cast

import fvcore.nn.weight_init as weight_init
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from focalnet_d2.kernels.linear import pointwise
from focalnet_d2.layers.activation_checkpointing import maybe_checkpoint
from focalnet_d2.layers.masked_attention import MaskedAttention
from focalnet_d2.layers.mlp import MLP
from focalnet_d2.layers.position_encoding import SinePositionEncoding


class MaskPredictions(TypedDict):
    """Predictions of one layer.

    Attributes:
        pred_logits: (B, Q, K + 1), no object last.
        mask_embed: (B, Q, E), see `predict_masks`.
    """

    pred_logits: Tensor
    mask_embed: Tensor


def predict_masks(mask_embed: Tensor, mask_features: Tensor) -> Tensor:
    """Inner product of every query with every pixel: (..., Q, E), (..., E, h, w) -> (..., Q, h, w) logits."""
    product = mask_embed @ mask_features.flatten(-2)  # (..., Q, h * w)
    return product.view(*product.shape[:-1], *mask_features.shape[-2:])


class MaskedDecoderLayer(nn.Module):
    """Masked cross-attention, self-attention, feed-forward network, each followed by its norm."""

    def __init__(self, dim: int, ffn_dim: int, num_heads: int):
        super().__init__()
        self.cross_attn = MaskedAttention(dim, num_heads=num_heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.self_attn = MaskedAttention(dim, num_heads=num_heads)
        self.self_norm = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        for linear in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(linear.weight)

    def forward(
        self, query_feat: Tensor, query_embed: Tensor, memory: Tensor, memory_with_pos: Tensor, attn_mask: Tensor
    ) -> Tensor:
        """(B, Q, C) content and position, (B, N, C) memory without and with position, (B, Q, N) bool -> (B, Q, C)."""
        attended = self.cross_attn(query_feat + query_embed, memory_with_pos, memory, attn_mask)
        query_feat = self.cross_norm(query_feat + attended)
        query_with_pos = query_feat + query_embed
        query_feat = self.self_norm(query_feat + self.self_attn(query_with_pos, query_with_pos, query_feat))
        return self.ffn_norm(query_feat + self.linear2(self.linear1(query_feat).relu()))


class MaskedAttentionDecoder(nn.Module):
    """Layers that turn queries into segments, reading the levels of the pyramid in turn, coarse to fine.

    Args:
        num_classes: classes K; the no-object class comes last.
        position_embedding: encoding of cells, C features.
        dim: channels C.
        in_dim: channels of the pyramid's maps, None: C; if they are not C, a convolution for each level makes them C.
        mask_dim: channels E.
        num_queries: queries Q.
        num_layers: layers; each, and the queries before the first, makes a prediction.
        num_levels: levels of the pyramid.
        num_heads, ffn_dim: of the layers.
        use_checkpoint: recompute the layers in the backward pass instead of keeping their activations.

    Raises:
        ValueError: position features that are not as many as the channels.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        position_embedding: SinePositionEncoding,
        dim: int = 256,
        in_dim: int | None = None,
        mask_dim: int = 256,
        num_queries: int = 100,
        num_layers: int = 9,
        num_levels: int = 3,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        use_checkpoint: bool = False,
    ):
        super().__init__()
        _check_width(position_embedding, dim)
        self.num_queries = num_queries
        self.use_checkpoint = use_checkpoint
        self.position_embedding = position_embedding
        self.in_dim = dim if in_dim is None else in_dim
        different = range(num_levels if self.in_dim != dim else 0)
        self.input_proj = nn.ModuleList(nn.Conv2d(self.in_dim, dim, kernel_size=1) for _ in different)
        for conv in self.input_proj:
            weight_init.c2_xavier_fill(conv)
        self.query_feat = nn.Embedding(num_queries, dim)
        self.query_embed = nn.Embedding(num_queries, dim)
        self.level_embed = nn.Embedding(num_levels, dim)
        self.layers = nn.ModuleList(MaskedDecoderLayer(dim, ffn_dim, num_heads) for _ in range(num_layers))
        self.decoder_norm = nn.LayerNorm(dim)
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim, dim, mask_dim, num_layers=3)

    def forward(self, mask_features: Tensor, multi_scale_features: Sequence[Tensor]) -> list[MaskPredictions]:
        """Predictions of the queries before the first and after every layer.

        Args:
            mask_features: (B, E, h, w).
            multi_scale_features: a map (B, C, H_l, W_l), or of `in_dim` channels, for every level, coarse to fine.

        Returns:
            For each, `pred_logits` (B, Q, K + 1) and `mask_embed` (B, Q, E), see `predict_masks`.
        """
        maps = self._project(multi_scale_features)
        memories = [self._memory(*level) for level in zip(maps, self.level_embed.weight, strict=True)]
        sizes = [feature.shape[-2:] for feature in maps]
        keys = [_resize(mask_features.detach(), size) for size in sizes]  # L x (B, E, H_l, W_l)
        query_feat = self.query_feat.weight.expand(mask_features.shape[0], -1, -1)  # (B, Q, C)
        query_embed = self.query_embed.weight.expand_as(query_feat)
        predictions = [self.predict(query_feat)]
        for index, layer in enumerate(self.layers):
            level = index % len(keys)
            attn_mask = attention_mask_from_predictions(predictions[-1]["mask_embed"], keys[level])
            arguments = (query_feat, query_embed, *memories[level], attn_mask)
            query_feat = maybe_checkpoint(layer, *arguments, recompute=self.use_checkpoint)
            predictions.append(self.predict(query_feat))
        return predictions

    def _project(self, maps: Sequence[Tensor]) -> Sequence[Tensor]:
        """(B, ., H_l, W_l) of each level -> (B, C, H_l, W_l), which they are already without projections."""
        if not len(self.input_proj):
            return maps
        projections = cast(Iterable[nn.Conv2d], self.input_proj)
        return [pointwise(conv, feature) for conv, feature in zip(projections, maps, strict=True)]

    def _memory(self, feature: Tensor, embed: Tensor) -> tuple[Tensor, Tensor]:
        """A level's tokens without and with their positions: (B, C, H, W), (C,) -> (B, N, C), (B, N, C)."""
        memory = feature.flatten(2).transpose(1, 2) + embed.to(feature.dtype)
        position = self.position_embedding.of_size(feature.shape[-2:], embed)  # nothing is padding
        return memory, memory + position.flatten(2).transpose(1, 2).to(feature.dtype)

    def predict(self, query_feat: Tensor) -> MaskPredictions:
        """(B, Q, C) -> `pred_logits` (B, Q, K + 1), `mask_embed` (B, Q, E)."""
        states = self.decoder_norm(query_feat)
        return {"pred_logits": self.class_embed(states), "mask_embed": self.mask_embed(states)}


def _check_width(position_embedding: SinePositionEncoding, dim: int) -> None:
    features = position_embedding.num_feats
    if 2 * features != dim:
        raise ValueError(
            f"decoder.dim is {dim}, but decoder.position_embedding.num_feats={features} encodes cells in "
            f"{2 * features} channels: set model.decoder.position_embedding.num_feats={dim // 2}."
        )


@torch.no_grad()
def attention_mask_from_predictions(mask_embed: Tensor, mask_features: Tensor) -> Tensor:
    """Where a query may not look, because its mask is off: (B, Q, E), (B, E, H, W) -> (B, Q, H * W) bool.

    A query whose mask is off everywhere looks everywhere.
    """
    attn_mask = predict_masks(mask_embed, mask_features).flatten(2) < 0
    return attn_mask & ~attn_mask.all(-1, keepdim=True)


def _resize(feature: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(feature, size=tuple(size), mode="bilinear", align_corners=False)

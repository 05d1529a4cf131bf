"""Mixed query selection: boxes of the queries from the encoder, their content learned (arXiv:2203.03605, section 3.4).

Shapes: B images, N tokens of all levels, C channels, Q queries, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from focalnet_d2.kernels.deformable_attention import SpatialShapes
from focalnet_d2.layers.mlp import MLP

from .heads import box_head, class_head


@dataclass
class SelectedQueries:
    """The tokens that become queries.

    Attributes:
        query_feat: (B, Q, C) learned content.
        box_logits: (B, Q, 4) predicted boxes before the sigmoid; +inf where the token has no valid anchor.
        pred_logits: (B, Q, K) of the encoder's class head.
        proposals: (B, Q, 4) anchors of the tokens, normalised cxcywh.
        topk_indices: (B, Q) places of the tokens in the sequence of levels, best first.
    """

    query_feat: Tensor
    box_logits: Tensor
    pred_logits: Tensor
    proposals: Tensor
    topk_indices: Tensor


def get_proposal_logits(
    padding_masks: Sequence[Tensor], dtype: torch.dtype = torch.float32, base_size: float = 0.05
) -> tuple[Tensor, Tensor]:
    """One square anchor a token, `base_size` * 2^level of the image wide.

    Args:
        padding_masks: (B, H, W) bool of each level, True = padding.
        dtype: of the logits.
        base_size: side of the finest level's anchors over the image's side.

    Returns:
        logits (B, N, 4) of the anchors as cxcywh, +inf where they are not valid; valid (B, N) bool: not on padding
        and all four coordinates strictly between 0.01 and 0.99.
    """
    anchors = []
    for level, mask in enumerate(padding_masks):
        height, width = mask.shape[1:]
        y = torch.arange(height, dtype=dtype, device=mask.device) + 0.5
        x = torch.arange(width, dtype=dtype, device=mask.device) + 0.5
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)  # (HW, 2)
        valid_size = torch.stack([(~mask[:, 0]).sum(-1), (~mask[:, :, 0]).sum(-1)], dim=-1)  # (B, 2) as (w, h)
        centers = grid / valid_size[:, None].to(dtype)  # (B, HW, 2)
        anchors.append(torch.cat([centers, torch.full_like(centers, base_size * 2.0**level)], dim=-1))
    anchors = torch.cat(anchors, dim=1)  # (B, N, 4)
    on_image = ~torch.cat([mask.flatten(1) for mask in padding_masks], dim=1)  # (B, N)
    valid = ((anchors > 0.01) & (anchors < 0.99)).all(-1) & on_image
    return torch.logit(anchors).masked_fill(~valid[..., None], torch.inf), valid


class QuerySelection(nn.Module):
    """Scores every token, and hands the best ones' boxes to the decoder.

    Tokens without a valid anchor enter the score as zeros, not as minus infinity, and can be selected.

    Args:
        num_queries: queries Q.
        dim: channels C.
        num_classes: classes K.
    """

    def __init__(self, num_queries: int = 900, *, dim: int = 256, num_classes: int = 80):
        super().__init__()
        self.num_queries = num_queries
        self.enc_output = nn.Linear(dim, dim)
        self.enc_output_norm = nn.LayerNorm(dim)
        self.class_embed: nn.Linear = class_head(dim, num_classes)
        self.bbox_embed: MLP = box_head(dim)
        self.tgt_embed = nn.Embedding(num_queries, dim)
        nn.init.xavier_uniform_(self.enc_output.weight)
        nn.init.xavier_uniform_(self.tgt_embed.weight)

    def forward(
        self, memory: Tensor, padding_masks: Sequence[Tensor], spatial_shapes: SpatialShapes
    ) -> SelectedQueries:
        """(B, N, C) and the levels' (B, H, W) masks -> the best Q tokens by their highest class logit.

        Raises:
            ValueError: the image has fewer than Q tokens.
        """
        batch, tokens, _ = memory.shape
        if tokens < self.num_queries:
            raise ValueError(
                f"{self.num_queries} queries need as many tokens, but levels of sizes {list(spatial_shapes)} have "
                f"{tokens}: use larger images or fewer query_selection.num_queries."
            )
        dtype = torch.promote_types(memory.dtype, torch.float32)
        proposal_logits, valid = get_proposal_logits(padding_masks)
        encoded = self.enc_output_norm(self.enc_output(memory.masked_fill(~valid[..., None], 0.0)))  # (B, N, C)
        logits = self.class_embed(encoded)  # (B, N, K)
        topk = logits.max(-1).values.topk(self.num_queries, dim=1).indices  # (B, Q)

        def select(per_token: Tensor) -> Tensor:
            return per_token.gather(1, topk[..., None].expand(-1, -1, per_token.shape[-1]))

        proposals = select(proposal_logits)  # (B, Q, 4)
        return SelectedQueries(
            query_feat=self.tgt_embed.weight.expand(batch, -1, -1),
            box_logits=self.bbox_embed(select(encoded)).to(dtype) + proposals,
            pred_logits=select(logits),
            proposals=proposals.sigmoid(),
            topk_indices=topk,
        )

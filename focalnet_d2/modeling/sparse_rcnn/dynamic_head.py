"""The stages of Sparse R-CNN: proposals look at each other and each at its own region (arXiv:2011.12450, section 3).

Parameters are called as in mmdetection's checkpoints. What they call dynamic convolution is a pair of matrix products
with every position of a region, whose matrices come from the proposal's feature.

Shapes: B images, Q proposals of each, R of all, C channels, S x S positions of a region, K classes.
"""

from collections.abc import Callable, Sequence

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh
from focalnet_d2.layers.mlp import MLP, prior_bias
from focalnet_d2.set_prediction.outputs import LayerOutputs

from ..box_deltas import BoxDeltas

Pool = Callable[[Sequence[Tensor], Tensor], Tensor]

DELTAS = BoxDeltas((2.0, 2.0, 1.0, 1.0))
REGION_SIZE = 7
STRIDES = (4, 8, 16, 32)  # of the pyramid


class DynamicConv(nn.Module):
    """Each proposal reads its region with parameters of its own: C -> hidden -> C channels, then one vector.

    Args:
        dim: channels C.
        hidden_dim: channels between the two products.
    """

    def __init__(self, dim: int = 256, *, hidden_dim: int = 64):
        super().__init__()
        self.dim, self.hidden_dim = dim, hidden_dim
        self.dynamic_layer = nn.Linear(dim, 2 * dim * hidden_dim)
        self.norm_in = nn.LayerNorm(hidden_dim)
        self.norm_out = nn.LayerNorm(dim)
        self.fc_layer = nn.Linear(dim * REGION_SIZE**2, dim)
        self.fc_norm = nn.LayerNorm(dim)

    def forward(self, proposal_feat: Tensor, regions: Tensor) -> Tensor:
        """(R, C), (R, C, S, S) -> (R, C)."""
        shrink, expand = self.dynamic_layer(proposal_feat).chunk(2, dim=-1)  # (R, C * hidden) each
        x = regions.flatten(2).transpose(1, 2)  # (R, S * S, C)
        x = self.norm_in(x @ shrink.view(-1, self.dim, self.hidden_dim)).relu()  # (R, S * S, hidden)
        x = self.norm_out(x @ expand.view(-1, self.hidden_dim, self.dim)).relu()  # (R, S * S, C)
        return self.fc_norm(self.fc_layer(x.flatten(1))).relu()


class DynamicStage(nn.Module):
    """Self-attention, dynamic convolution, feed-forward layer; then the classes and the change of each box.

    Args:
        dim: channels C, a multiple of `num_heads`.
        num_heads: of the self-attention.
        ffn_dim: hidden width of the feed-forward layer.
        dynamic_dim: hidden width of the dynamic convolution.
        num_classes: classes K.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dynamic_dim: int = 64,
        num_classes: int = 80,
    ):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(dim)
        self.instance_interactive_conv = DynamicConv(dim, hidden_dim=dynamic_dim)
        self.instance_interactive_conv_norm = nn.LayerNorm(dim)
        self.ffn = MLP(dim, ffn_dim, dim, num_layers=2)
        self.ffn_norm = nn.LayerNorm(dim)
        self.cls_fcs = _tower(dim, num_layers=1)
        self.reg_fcs = _tower(dim, num_layers=3)
        self.fc_cls = nn.Linear(dim, num_classes)
        self.fc_reg = nn.Linear(dim, 4)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.constant_(self.fc_cls.bias, prior_bias())

    def forward(self, proposal_feat: Tensor, regions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One stage.

        Args:
            proposal_feat: (B, Q, C).
            regions: (B * Q, C, S, S) of the proposals' boxes.

        Returns:
            class logits (B, Q, K), box deltas (B, Q, 4), new proposal_feat (B, Q, C).
        """
        x = proposal_feat
        x = self.attention_norm(x + self.attention(x, x, x, need_weights=False)[0])
        seen = self.instance_interactive_conv(x.flatten(0, 1), regions).view_as(x)
        x = self.instance_interactive_conv_norm(x + seen)
        x = self.ffn_norm(x + self.ffn(x))
        return self.fc_cls(self.cls_fcs(x)), self.fc_reg(self.reg_fcs(x)), x


class DynamicHead(nn.Module):
    """Learned boxes and features, the same for every image, and the stages that fit them to it.

    Args:
        dim: channels C of the pyramid and of the features.
        num_proposals: Q.
        num_stages: each starts from the boxes of the one before, which gets no gradient through them.
        num_heads, ffn_dim, dynamic_dim, num_classes: see `DynamicStage`.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        num_proposals: int = 300,
        num_stages: int = 6,
        num_heads: int = 8,
        ffn_dim: int = 2048,
        dynamic_dim: int = 64,
        num_classes: int = 80,
    ):
        super().__init__()
        self.num_proposals = num_proposals
        self.init_proposal_features = nn.Embedding(num_proposals, dim)
        whole_image = torch.tensor([0.5, 0.5, 1.0, 1.0]).expand(num_proposals, -1)
        self.init_proposal_bboxes = nn.Embedding(num_proposals, 4, _weight=whole_image.clone())
        scales = [1.0 / stride for stride in STRIDES]
        self.pooler = ROIPooler(REGION_SIZE, scales=scales, sampling_ratio=2, pooler_type="ROIAlignV2")
        self.stages = nn.ModuleList(
            DynamicStage(dim, num_heads=num_heads, ffn_dim=ffn_dim, dynamic_dim=dynamic_dim, num_classes=num_classes)
            for _ in range(num_stages)
        )

    def forward(self, features: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]]) -> list[LayerOutputs]:
        """Predictions of every stage, the last one last.

        Args:
            features: (B, C, H_l, W_l) of each level, fine to coarse.
            image_sizes: (h, w) of each image without padding.

        Returns:
            `pred_logits` (B, Q, K), `pred_boxes` (B, Q, 4) cxcywh over the unpadded image, not clipped.
        """
        learned = self.init_proposal_bboxes.weight
        scale = learned.new_tensor([(w, h, w, h) for h, w in image_sizes])[:, None]  # (B, 1, 4)
        return self.refine(features, scale, self._pool)

    def refine(self, features: Sequence[Tensor], scale: Tensor, pool: Pool) -> list[LayerOutputs]:
        """`forward` with the sizes of the images as tensor: (B, 1, 4) width, height, width, height in pixels.

        Args:
            features: (B, C, H_l, W_l) of each level, fine to coarse.
            scale: (B, 1, 4).
            pool: from the features and boxes (B, Q, 4) XYXY pixels to their regions (B * Q, C, S, S).
        """
        learned = self.init_proposal_bboxes.weight
        features = [feature.to(learned) for feature in features]  # half precision has no room for boxes in pixels
        boxes = box_cxcywh_to_xyxy(learned) * scale  # (B, Q, 4) pixels
        proposal_feat = self.init_proposal_features.weight.expand(scale.shape[0], -1, -1)  # (B, Q, C)
        outputs = []
        for stage in self.stages:
            logits, deltas, proposal_feat = stage(proposal_feat, pool(features, boxes.detach()))
            refined = DELTAS.apply_deltas(deltas.flatten(0, 1), boxes.flatten(0, 1)).view_as(boxes)
            outputs.append({"pred_logits": logits, "pred_boxes": box_xyxy_to_cxcywh(refined) / scale})
            boxes = refined.detach()
        return outputs

    def _pool(self, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """(B, C, H_l, W_l) of each level, (B, Q, 4) -> (B * Q, C, S, S)."""
        return self.pooler(list(features), [Boxes(image) for image in boxes])


def _tower(dim: int, num_layers: int) -> nn.Sequential:
    layers = [(nn.Linear(dim, dim, bias=False), nn.LayerNorm(dim), nn.ReLU()) for _ in range(num_layers)]
    return nn.Sequential(*(module for layer in layers for module in layer))

"""Reference implementation of DINO, which takes the weights of a library model.

It computes what the published code computes, operation by operation: plain linear layers, one `grid_sample` a level,
`nn.MultiheadAttention`'s function that also averages its weights, boxes of all tokens, positions at every call, and
costs and losses one layer after the other. Padding is treated as in evaluation by FocalNet-DINO.

Shapes: B images, N tokens of all levels, Q queries, C channels, L levels.
"""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dino.denoising import DenoisingQueries
from dino.model import DINO
from dino.query_selection import get_proposal_logits
from focalnet_d2.kernels.deformable_attention import deformable_attention
from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, generalized_box_iou, inverse_sigmoid
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from focalnet_d2.layers.deformable_encoder import get_encoder_reference_points, get_valid_ratios
from focalnet_d2.layers.position_encoding import encode_reference_points
from focalnet_d2.set_prediction.targets import Targets

from .focalnet import reference_block, reference_linear, reference_norm, reference_patches


class ReferenceDINO:
    """The network and its losses.

    Args:
        model: whose weights and settings are taken.
    """

    def __init__(self, model: DINO):
        self.model = model

    def predict(self, images: Tensor, padding_mask: Tensor, selected: Tensor, noise: DenoisingQueries | None) -> dict:
        """Normalised images -> predictions of every layer.

        Args:
            images: (B, 3, H, W); padding_mask: (B, H, W) bool, True = padding.
            selected: (B, Q) tokens to go on with in place of the best ones, so that rounding does not decide near ties.
            noise: denoising queries.
        """
        model = self.model
        features = self.pyramid(images)
        masks = [F.interpolate(padding_mask[:, None].float(), f.shape[-2:])[:, 0].bool() for f in features]
        shapes = [tuple(feature.shape[-2:]) for feature in features]
        tokens = torch.cat([feature.flatten(2).transpose(1, 2) for feature in features], dim=1)  # (B, N, C)
        embedded = zip(masks, model.level_embed, strict=True)
        positions = [model.position_embedding(mask) + embed.view(-1, 1, 1) for mask, embed in embedded]
        position = torch.cat([one.flatten(2).transpose(1, 2) for one in positions], dim=1)
        flat_mask, ratios = torch.cat([mask.flatten(1) for mask in masks], dim=1), get_valid_ratios(masks)
        points = get_encoder_reference_points(shapes, ratios)
        for layer in model.encoder.layers:
            gathered = reference_deformable(layer.self_attn, tokens + position, points, tokens, shapes, flat_mask)
            tokens = reference_norm(layer.norm1, tokens + gathered)
            tokens = reference_norm(layer.norm2, tokens + reference_feed_forward(layer, tokens))
        proposals = self.propose(tokens, masks, selected)
        queries, boxes, blocked = proposals["queries"], proposals["box_logits"].detach(), None
        if noise is not None:
            queries, boxes = torch.cat([noise.query_feat, queries], 1), torch.cat([noise.box_logits, boxes], 1)
            blocked = noise.attention_mask(proposals["queries"].shape[1])
        layers = self.decode(queries, boxes, tokens, shapes, ratios, flat_mask, blocked)
        return {"layers": layers, "proposals": proposals}

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> L maps (B, C, H_l, W_l)."""
        neck, network = self.model.backbone, self.model.backbone.bottom_up
        x, maps = reference_patches(network.patch_embed, padded(images, network.patch_embed.stride)), []
        for stage, layer in enumerate(network.layers):
            for block in layer.blocks:
                x = reference_block(block, x)
            if f"res{stage + 2}" in network.out_features:
                maps.append(reference_norm(getattr(network, f"norm{stage}"), x).permute(0, 3, 1, 2).contiguous())
            if layer.downsample is not None:
                x = reference_patches(layer.downsample, padded(x.permute(0, 3, 1, 2).contiguous(), 2))
        levels = []
        for index, projection in enumerate(neck.input_proj):
            source = maps[index] if index < len(maps) else maps[-1] if index == len(maps) else levels[-1]
            levels.append(projection(source))
        return levels

    def propose(self, memory: Tensor, masks: list[Tensor], selected: Tensor) -> dict[str, Tensor]:
        """Class and box of every token, then the chosen ones."""
        head = self.model.query_selection
        anchors, valid = get_proposal_logits(masks)
        encoded = reference_norm(head.enc_output_norm, reference_linear(head.enc_output, memory * valid[..., None]))
        logits = reference_linear(head.class_embed, encoded)  # (B, N, K)
        boxes = reference_mlp(head.bbox_embed, encoded) + anchors  # (B, N, 4)
        logits.max(-1).values.topk(head.num_queries, dim=1)
        chosen = [one.gather(1, selected[..., None].expand(-1, -1, one.shape[-1])) for one in (logits, boxes)]
        queries = head.tgt_embed.weight.expand(len(memory), -1, -1)
        return {
            "queries": queries,
            "pred_logits": chosen[0],
            "box_logits": chosen[1],
            "pred_boxes": chosen[1].sigmoid(),
        }

    def decode(
        self,
        queries: Tensor,
        box_logits: Tensor,
        memory: Tensor,
        shapes: list,
        ratios: Tensor,
        mask: Tensor,
        blocked: Tensor | None,
    ) -> list[dict[str, Tensor]]:
        """Queries and boxes -> `pred_logits` and `pred_boxes` of every layer."""
        decoder, reference, outputs = self.model.decoder, box_logits.sigmoid(), []
        classify, refine = (
            list(heads) * (len(decoder.layers) // len(heads))
            for heads in (self.model.class_embed, self.model.bbox_embed)
        )
        for index, layer in enumerate(decoder.layers):
            working = reference.detach()
            scaled = working[:, :, None] * ratios.repeat(1, 1, 2)[:, None]  # (B, Q, L, 4)
            position = reference_mlp(decoder.ref_point_head, encode_reference_points(scaled[:, :, 0], decoder.dim // 2))
            queries = reference_norm(
                layer.norm2, queries + reference_attention(layer.self_attn, queries + position, queries, blocked)
            )
            read = reference_deformable(layer.cross_attn, queries + position, scaled, memory, shapes, mask)
            queries = reference_norm(layer.norm1, queries + read)
            queries = reference_norm(layer.norm3, queries + reference_feed_forward(layer, queries))
            states, started = reference_norm(decoder.norm, queries), reference
            reference = (reference_mlp(refine[index], queries) + inverse_sigmoid(working)).sigmoid()
            boxes = (reference_mlp(refine[index], states) + inverse_sigmoid(started)).sigmoid()
            outputs.append({"pred_logits": reference_linear(classify[index], states), "pred_boxes": boxes})
        return outputs

    def losses(self, outputs: dict, targets: list[Targets], noise: DenoisingQueries) -> list[Tensor]:
        """Weighted losses, one layer after the other: matched queries, proposals, denoising queries."""
        count = noise.num_queries
        total, losses = float(max(sum(map(len, targets)), 1)), []
        for layer in [*outputs["layers"], outputs["proposals"]]:
            skip = 0 if layer is outputs["proposals"] else count
            matched = {name: layer[name][:, skip:] for name in ("pred_logits", "pred_boxes")}
            losses += self.compute_losses(matched, targets, self.match(matched, targets), total)
        for layer in outputs["layers"]:
            noisy = {name: layer[name][:, :count] for name in ("pred_logits", "pred_boxes")}
            losses += self.compute_losses(noisy, targets, noise.indices(targets), total * noise.num_groups)
        return losses

    @torch.no_grad()
    def match(self, outputs: dict[str, Tensor], targets: list[Targets]) -> list[tuple[Tensor, Tensor]]:
        """Cheapest pairs of each image."""
        matcher, pairs = self.model.criterion.matcher, []
        for logits, boxes, image in zip(outputs["pred_logits"], outputs["pred_boxes"], targets, strict=True):
            p, wanted = logits.sigmoid(), image.boxes.to(boxes)
            found = matcher.alpha * (1 - p) ** matcher.gamma * -(p + 1e-8).log()
            denied = (1 - matcher.alpha) * p**matcher.gamma * -(1 - p + 1e-8).log()
            overlap = generalized_box_iou(box_cxcywh_to_xyxy(boxes)[:, None], box_cxcywh_to_xyxy(wanted))
            cost = (
                matcher.class_weight * (found[:, image.labels] - denied[:, image.labels])
                + matcher.bbox_weight * torch.cdist(boxes, wanted, p=1)
                - matcher.giou_weight * overlap
            )
            pairs.append(tuple(torch.as_tensor(side) for side in linear_sum_assignment(cost.cpu())))
        return pairs

    def compute_losses(
        self, outputs: dict[str, Tensor], targets: list[Targets], pairs: list, total: float
    ) -> list[Tensor]:
        """Focal loss, L1 and generalised IoU of one set of predictions."""
        c = self.model.criterion
        logits, wanted_classes = outputs["pred_logits"], torch.zeros_like(outputs["pred_logits"])
        boxes, wanted = [], []
        for index, (image, (query, target)) in enumerate(zip(targets, pairs, strict=True)):
            wanted_classes[index, query, image.labels[target]] = 1.0
            boxes.append(outputs["pred_boxes"][index, query])
            wanted.append(image.boxes[target].to(boxes[-1]))
        p, boxes, wanted = logits.sigmoid(), torch.cat(boxes), torch.cat(wanted)
        entropy = F.binary_cross_entropy_with_logits(logits, wanted_classes, reduction="none")
        truth = p * wanted_classes + (1 - p) * (1 - wanted_classes)
        balance = c.alpha * wanted_classes + (1 - c.alpha) * (1 - wanted_classes)
        overlap = generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(wanted))
        return [
            c.class_weight * (balance * entropy * (1 - truth) ** c.gamma).sum() / total,
            c.bbox_weight * (boxes - wanted).abs().sum() / total,
            c.giou_weight * (1 - overlap).sum() / total,
        ]


def padded(x: Tensor, multiple: int) -> Tensor:
    """Zeros right and below, up to a multiple."""
    return F.pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple))


def reference_mlp(mlp: nn.Module, x: Tensor) -> Tensor:
    """Linear layers with ReLU between them."""
    for layer in mlp.layers[:-1]:
        x = F.relu(reference_linear(layer, x))
    return reference_linear(mlp.layers[-1], x)


def reference_feed_forward(layer: nn.Module, x: Tensor) -> Tensor:
    """(..., C) -> (..., C)."""
    return reference_linear(layer.linear2, F.relu(reference_linear(layer.linear1, x)))


def reference_attention(layer: nn.Module, positioned: Tensor, value: Tensor, blocked: Tensor | None) -> Tensor:
    """(B, Q, C) self-attention as `nn.MultiheadAttention` computes it when it is also to return its weights."""
    positioned, value = positioned.transpose(0, 1), value.transpose(0, 1)
    gathered, _ = F.multi_head_attention_forward(
        positioned, positioned, value, positioned.shape[-1], layer.num_heads, layer.in_proj_weight, layer.in_proj_bias,
        None, None, False, 0.0, layer.out_proj.weight, layer.out_proj.bias, attn_mask=blocked,
    )  # fmt: skip
    return gathered.transpose(0, 1)


def reference_deformable(
    layer: MultiScaleDeformableAttention, query: Tensor, points: Tensor, memory: Tensor, shapes: list, mask: Tensor
) -> Tensor:
    """(B, Q, C) queries, (B, Q, L, 2 or 4) points, (B, N, C) memory -> (B, Q, C)."""
    batch, queries, _ = query.shape
    per_point = (batch, queries, layer.num_heads, layer.num_levels, layer.num_points)
    value = reference_linear(layer.value_proj, memory).masked_fill(mask[..., None], 0.0)
    offsets = reference_linear(layer.sampling_offsets, query).view(*per_point, 2)
    weights = reference_linear(layer.attention_weights, query).view(*per_point[:3], -1).softmax(-1).view(per_point)
    if points.shape[-1] == 2:
        sides = torch.tensor([(w, h) for h, w in shapes], dtype=points.dtype)
        locations = points[:, :, None, :, None] + offsets / sides[:, None]
    else:
        locations = points[:, :, None, :, None, :2] + offsets / layer.num_points * points[:, :, None, :, None, 2:] * 0.5
    value = value.view(batch, -1, layer.num_heads, value.shape[-1] // layer.num_heads)
    return reference_linear(layer.output_proj, deformable_attention(value, shapes, locations, weights, "grid_sample"))

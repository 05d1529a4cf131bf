"""Reference implementation of Mask2Former, which takes the weights of a library model.

Deformable attention is one `grid_sample` a level; attention goes through `nn.MultiheadAttention`'s own function with
the mask copied for every head; every prediction makes the masks of all queries at a quarter of the image's size, and
the masks for attention are resized from those; the criterion casts and pads the target masks for every prediction;
post-processing resizes the masks of all queries twice (`postprocessing.py`).

Shapes: B images, Q queries, K classes, C channels, N tokens, M targets, P points.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from focalnet_d2.layers.masked_attention import MaskedAttention
from focalnet_d2.modeling.base import batch_images
from mask2former.criterion import Mask2FormerCriterion
from mask2former.model import Mask2Former
from mask2former.pixel_decoder import PixelDecoder
from mask2former.transformer_decoder import MaskedAttentionDecoder

from .focalnet import reference_focalnet
from .postprocessing import reference_instances, reference_panoptic, reference_semantic, resize_masks


def reference_deformable(layer: MultiScaleDeformableAttention, query, centers, memory, shapes) -> Tensor:
    """(B, N, C) queries, (N, 2) centres in [0, 1] -> (B, N, C)."""
    batch, queries, _ = query.shape
    heads, levels, points = layer.num_heads, layer.num_levels, layer.num_points
    value = layer.value_proj(memory).unflatten(-1, (heads, -1))  # (B, N, heads, D)
    offsets = layer.sampling_offsets(query).view(batch, queries, heads, levels, points, 2)
    weights = layer.attention_weights(query).view(batch, queries, heads, levels * points).softmax(-1)
    sizes = torch.tensor([(w, h) for h, w in shapes], dtype=query.dtype)
    locations = centers[:, None, None, None] + offsets / sizes[:, None]  # (B, N, heads, levels, points, 2)
    grids, sampled = 2 * locations - 1, []
    for level, tokens in enumerate(value.split([h * w for h, w in shapes], dim=1)):
        h, w = shapes[level]
        table = tokens.flatten(2).transpose(1, 2).reshape(batch * heads, -1, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B * heads, N, points, 2)
        sampled.append(F.grid_sample(table, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, levels * points)
    summed = (torch.stack(sampled, dim=-2).flatten(-2) * weights).sum(-1).view(batch, -1, queries)
    return layer.output_proj(summed.transpose(1, 2).contiguous())


def reference_pixel_decoder(decoder: PixelDecoder, features: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Mask features (B, E, H/4, W/4) and three maps (B, C, ., .), coarse to fine."""
    maps = [project(features[name]) for project, name in zip(decoder.input_proj, decoder.in_features, strict=True)]
    shapes = [tuple(level.shape[-2:]) for level in maps]
    positions = [
        (reference_positions(decoder, level) + embed.view(1, -1, 1, 1)).flatten(2).transpose(1, 2)
        for level, embed in zip(maps, decoder.level_embed, strict=True)
    ]
    position = torch.cat(positions, dim=1)
    tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)  # (B, N, C)
    centers = torch.cat([reference_centers(h, w, tokens) for h, w in shapes])
    for layer in decoder.encoder.layers:
        gathered = reference_deformable(layer.self_attn, tokens + position, centers, tokens, shapes)
        tokens = layer.norm1(tokens + gathered)
        tokens = layer.norm2(tokens + layer.linear2(F.relu(layer.linear1(tokens))))
    parts = tokens.split([h * w for h, w in shapes], dim=1)
    maps = [part.transpose(1, 2).view(len(part), -1, h, w) for part, (h, w) in zip(parts, shapes, strict=True)]
    lateral = decoder.lateral(features[decoder.finest])
    finest = lateral + F.interpolate(maps[-1], size=lateral.shape[-2:], mode="bilinear", align_corners=False)
    return decoder.mask_features(decoder.smooth(finest)), maps


def reference_positions(decoder: PixelDecoder | MaskedAttentionDecoder, level: Tensor) -> Tensor:
    """(B, C, H, W) sines for a map of that shape."""
    return decoder.position_embedding(level.new_zeros(level[:, 0].shape, dtype=torch.bool))


def reference_centers(h: int, w: int, like: Tensor) -> Tensor:
    """(h * w, 2) xy in [0, 1]."""
    y, x = torch.meshgrid(*((torch.arange(side, dtype=like.dtype) + 0.5) / side for side in (h, w)), indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def reference_attention(layer: MaskedAttention, query: Tensor, key: Tensor, value: Tensor, mask=None) -> Tensor:
    """What `nn.MultiheadAttention` does, batch second: (Q, B, C), (N, B, C), (N, B, C), mask (B * heads, Q, N)."""
    return F.multi_head_attention_forward(
        query, key, value, query.shape[-1], layer.num_heads, layer.in_proj_weight, layer.in_proj_bias,
        None, None, False, 0.0, layer.out_proj.weight, layer.out_proj.bias, attn_mask=mask,
    )[0]  # fmt: skip


def reference_prediction(
    decoder: MaskedAttentionDecoder, queries: Tensor, mask_features: Tensor
) -> tuple[Tensor, Tensor]:
    """(Q, B, C) -> class logits (B, Q, K + 1) and mask logits (B, Q, H/4, W/4)."""
    states = decoder.decoder_norm(queries).transpose(0, 1)
    return decoder.class_embed(states), torch.einsum("bqc,bchw->bqhw", decoder.mask_embed(states), mask_features)


def reference_blocked(masks: Tensor, size: Sequence[int], heads: int) -> Tensor:
    """(B, Q, h, w) -> (B * heads, Q, N) bool."""
    resized = F.interpolate(masks, size=size, mode="bilinear", align_corners=False).sigmoid().flatten(2)
    blocked = (resized.unsqueeze(1).repeat(1, heads, 1, 1).flatten(0, 1) < 0.5).detach()
    blocked[torch.where(blocked.sum(-1) == blocked.shape[-1])] = False
    return blocked


def reference_decoder(decoder: MaskedAttentionDecoder, mask_features: Tensor, maps: Sequence[Tensor]) -> list:
    """Class and mask logits of all queries, before the first and after every layer."""
    memories = [
        (level.flatten(2) + embed[:, None]).permute(2, 0, 1)
        for level, embed in zip(maps, decoder.level_embed.weight, strict=True)
    ]
    positions = [reference_positions(decoder, level).flatten(2).permute(2, 0, 1) for level in maps]  # (N, B, C)
    batch, heads = len(mask_features), decoder.layers[0].cross_attn.num_heads
    embed = decoder.query_embed.weight.unsqueeze(1).repeat(1, batch, 1)  # (Q, B, C)
    queries = decoder.query_feat.weight.unsqueeze(1).repeat(1, batch, 1)
    predictions = [reference_prediction(decoder, queries, mask_features)]
    for index, layer in enumerate(decoder.layers):
        level = index % len(maps)
        blocked = reference_blocked(predictions[-1][1], maps[level].shape[-2:], heads)
        key = memories[level] + positions[level]
        read = reference_attention(layer.cross_attn, queries + embed, key, memories[level], blocked)
        queries = layer.cross_norm(queries + read)
        queries = layer.self_norm(queries + reference_attention(layer.self_attn, *[queries + embed] * 2, queries))
        queries = layer.ffn_norm(queries + layer.linear2(F.relu(layer.linear1(queries))))
        predictions.append(reference_prediction(decoder, queries, mask_features))
    return predictions


def same_points(count: int, num_points: int, like: Tensor) -> Tensor:
    """(count, num_points, 2) random points that depend on nothing but their number, so that both may draw them."""
    generator = torch.Generator().manual_seed(count * num_points)
    return torch.rand(count, num_points, 2, generator=generator, dtype=like.dtype)


def reference_read(masks: Tensor, points: Tensor) -> Tensor:
    """(M, h, w), (M, P, 2) -> (M, P)."""
    return F.grid_sample(masks[:, None], 2 * points[:, :, None] - 1, align_corners=False)[:, 0, :, 0]


def reference_match(criterion: Mask2FormerCriterion, classes: Tensor, masks: Tensor, labels: Tensor, targets: Tensor):
    """Of one image and prediction: (Q, K + 1), (Q, h, w), (M,), (M, H, W) -> pairs."""
    matcher, wanted = criterion.matcher, targets.to(masks)
    points = criterion.draw_points(1, criterion.num_points, masks)
    wanted = reference_read(wanted, points.repeat(len(wanted), 1, 1))
    logits = reference_read(masks, points.repeat(len(masks), 1, 1))
    positive = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits), reduction="none")
    negative = F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits), reduction="none")
    cross_entropy = torch.einsum("qp,mp->qm", positive, wanted) + torch.einsum("qp,mp->qm", negative, 1 - wanted)
    probs = logits.sigmoid()
    dice = 1 - (2 * torch.einsum("qp,mp->qm", probs, wanted) + 1) / (probs.sum(-1)[:, None] + wanted.sum(-1) + 1)
    cost = matcher.mask_weight * cross_entropy / logits.shape[1] + matcher.dice_weight * dice
    cost = cost - matcher.class_weight * classes.softmax(-1)[:, labels]
    return tuple(torch.as_tensor(side) for side in linear_sum_assignment(cost.cpu()))


def reference_mask_losses(criterion: Mask2FormerCriterion, masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mask and dice loss, summed over matched pairs: (M, h, w) logits, (M, H, W)."""
    with torch.no_grad():
        candidates = criterion.draw_points(len(masks), criterion.num_candidates, masks)
        margin = -reference_read(masks, candidates).abs()
        chosen = margin.topk(criterion.num_uncertain, dim=1).indices
        uncertain = candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        fresh = criterion.draw_points(len(masks), criterion.num_points - criterion.num_uncertain, masks)
        points = torch.cat([uncertain, fresh], dim=1)
        wanted = reference_read(targets, points)
    logits = reference_read(masks, points)
    probs = logits.sigmoid()
    dice = 1 - (2 * (probs * wanted).sum(-1) + 1) / (probs.sum(-1) + wanted.sum(-1) + 1)
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(1).sum(), dice.sum()


def reference_criterion(
    criterion: Mask2FormerCriterion, predictions: list, labels: list, targets: list
) -> list[Tensor]:
    """Weighted losses of all predictions; targets are (M, H, W) bool of the padded size."""
    count, losses = max(sum(map(len, labels)), 1), []
    for classes, masks in predictions:
        with torch.no_grad():
            images = zip(classes, masks, labels, targets, strict=True)
            pairs = [reference_match(criterion, *image) for image in images]
        image = torch.cat([torch.full_like(queries, index) for index, (queries, _) in enumerate(pairs)])
        queries = torch.cat([queries for queries, _ in pairs])
        wanted = torch.full(classes.shape[:2], criterion.empty_weight.numel() - 1)
        wanted[image, queries] = torch.cat([labels[index][chosen] for index, (_, chosen) in enumerate(pairs)])
        most = max(map(len, targets))
        padded = torch.stack([F.pad(one, (0, 0, 0, 0, 0, most - len(one))) for one in targets]).to(masks)
        chosen = padded[image, torch.cat([chosen for _, chosen in pairs])]
        mask, dice = reference_mask_losses(criterion, masks[image, queries], chosen)
        losses.append(criterion.class_weight * F.cross_entropy(classes.transpose(1, 2), wanted, criterion.empty_weight))
        losses += [criterion.mask_weight * mask / count, criterion.dice_weight * dice / count]
    return losses


def reference_losses(model: Mask2Former, inputs: Sequence[Mapping]) -> list[Tensor]:
    """The losses of a training step: class, mask, dice of every prediction, the last one last."""
    images, _ = batch_images(inputs, model.pixel_mean, model.pixel_std, model.size_divisibility)
    mask_features, maps = reference_pixel_decoder(model.pixel_decoder, reference_focalnet(model.backbone, images))
    predictions = reference_decoder(model.decoder, mask_features, maps)
    labels, targets = [one["instances"].gt_classes for one in inputs], []
    for one in inputs:
        masks = one["instances"].gt_masks.tensor
        padded = masks.new_zeros(len(masks), *images.shape[-2:])
        padded[:, : masks.shape[1], : masks.shape[2]] = masks
        targets.append(padded)
    return reference_criterion(model.criterion, predictions, labels, targets)


def reference_results(model: Mask2Former, inputs: Sequence[Mapping]) -> list[dict]:
    """All results of each image, at its own size."""
    images, sizes = batch_images(inputs, model.pixel_mean, model.pixel_std, model.size_divisibility)
    mask_features, maps = reference_pixel_decoder(model.pixel_decoder, reference_focalnet(model.backbone, images))
    classes, masks = reference_decoder(model.decoder, mask_features, maps)[-1]
    padded = tuple(images.shape[-2:])
    return [
        reference_postprocessing(model, *image, padded, size)
        for *image, size in zip(classes, masks, sizes, strict=True)
    ]


def reference_postprocessing(model: Mask2Former, class_logits: Tensor, mask_logits: Tensor, padded, size) -> dict:
    """(Q, K + 1), (Q, h, w) -> semantic, panoptic and instance results at the image's size."""
    inference = model.inference
    masks = resize_masks(mask_logits, padded, size, size)
    return {
        "sem_seg": reference_semantic(class_logits, masks),
        "panoptic_seg": reference_panoptic(class_logits, masks, inference.panoptic, inference.thing_ids),
        "instances": reference_instances(class_logits, masks, inference.instance.top_k, inference.thing_ids),
    }

"""Mask R-CNN and its cascade from images to detections with the tensors of a whole batch, as exported graphs need it.

Numbers of proposals and detections are fixed, and what is missing is marked. Mask R-CNN is a cascade of one stage.

Shapes: B images, P proposals, K classes, D detections, L levels, M x M cells of a mask.
"""

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from focalnet_d2.layers.region_pooling import pool

from ..base import ImageBatch, image_limits
from .exported_proposals import Proposals, clip, is_finite, propose, take
from .exported_suppression import pick_detections


def detect(backbone: nn.Module, proposal_generator: nn.Module, heads: Any, images: ImageBatch) -> dict[str, Tensor]:
    """The detections of each image, best first.

    Args:
        backbone, proposal_generator: of the model.
        heads: `MaskRCNNHeads` or `CascadeHeads`.
        images: (B, 3, H, W) and where they end.

    Returns:
        `boxes` (B, D, 4) XYXY pixels of the input, `scores` (B, D), `class_ids` (B, D), and `masks` (B, D, M, M),
        probabilities within the box. All are 0 where there is no detection.
    """
    limits = image_limits(images.padding_mask)
    features = backbone(images.tensor)
    proposals = propose(proposal_generator, features, limits)
    maps = [features[name] for name in getattr(heads, "in_features", None) or heads.box_in_features]
    boxes, scores = classify(heads, maps, proposals, limits)
    last = stages(heads.box_predictor)[-1]
    scores, places = pick_detections(
        boxes,
        scores,
        last.test_topk_per_image,
        score_threshold=last.test_score_thresh,
        nms_threshold=last.test_nms_thresh,
    )
    missing = scores == 0
    class_ids = (places % heads.num_classes).masked_fill(missing, 0)  # (B, D)
    boxes = take(boxes.flatten(1, 2), places).masked_fill(missing[..., None], 0.0)  # (B, D, 4)
    masks = predict_masks(heads, maps, boxes, class_ids).masked_fill(missing[..., None, None], 0.0)
    return {"boxes": boxes, "scores": scores, "class_ids": class_ids, "masks": masks}


def stages(heads: nn.Module) -> list[Any]:
    """The heads of all stages, or the only one."""
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def classify(heads: Any, maps: list[Tensor], proposals: Proposals, limits: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes of each class (B, P, K, 4) within the image, and their scores (B, P, K), 0 for proposals that are missing.

    The maps are L x (B, C, H_l, W_l), the limits (B, 1, 4).
    """
    boxes, batch, of_stages = proposals.boxes, proposals.boxes.shape[0], []
    box_heads, predictors = stages(heads.box_head), stages(heads.box_predictor)
    for stage, (head, predictor) in enumerate(zip(box_heads, predictors, strict=True)):
        logits, deltas = predictor(head(pool(heads.box_pooler, maps, boxes)))  # (B * P, K + 1), (B * P, 4 K)
        of_stages.append(logits)
        if stage < len(predictors) - 1:
            best = logits[:, :-1].argmax(dim=1, keepdim=True)  # (B * P, 1)
            own = take(deltas.reshape(deltas.shape[0], heads.num_classes, 4), best)[:, 0]  # (B * P, 4)
            refined = predictor.box2box_transform.apply_deltas(own, boxes.flatten(0, 1))
            boxes = clip(refined.reshape(boxes.shape), limits)
    scores = (reduce(torch.add, of_stages) / len(of_stages)).softmax(dim=-1)  # (B * P, K + 1)
    of_classes = predictors[-1].box2box_transform.apply_deltas(deltas, boxes.flatten(0, 1))  # (B * P, 4 K)
    valid = is_finite(of_classes).all(1) & is_finite(scores).all(1) & proposals.valid.flatten()
    scores = scores[:, :-1].masked_fill(~valid[:, None], 0.0)
    of_classes = clip(of_classes.reshape(batch, -1, 4), limits)  # (B, P * K, 4)
    shape = (batch, -1, heads.num_classes)
    return of_classes.reshape(*shape, 4), scores.reshape(*shape)


def predict_masks(heads: Any, maps: list[Tensor], boxes: Tensor, class_ids: Tensor) -> Tensor:
    """Masks of the detections' own classes: boxes (B, D, 4) and classes (B, D) -> (B, D, M, M) probabilities.

    The maps are L x (B, C, H_l, W_l).
    """
    pooled = pool(heads.mask_pooler, maps, boxes)
    of_stages = []
    for head in stages(heads.mask_head):
        logits = head.layers(pooled)  # (B * D, K, M, M)
        rows = class_ids.reshape(-1, 1, 1, 1).expand(-1, 1, logits.shape[2], logits.shape[3])
        of_stages.append(logits.gather(1, rows)[:, 0].sigmoid())
    masks = reduce(torch.add, of_stages) / len(of_stages)
    return masks.reshape(boxes.shape[0], -1, masks.shape[1], masks.shape[2])

"""Losses of query-based box detectors: class, L1 and generalised IoU of matched predictions, for every layer.

Shapes: B images, Q queries, K classes, P matched pairs.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, box_iou

from .losses import giou_loss, l1_loss, negative_focal_loss, sigmoid_focal_loss, soft_focal_loss
from .matcher import HungarianMatcher, Indices
from .outputs import LayerOutputs
from .position import PositionSupervision
from .targets import Targets, count_targets


class SetCriterion(nn.Module):
    """Weighted losses by name: `loss_class`, `loss_bbox`, `loss_giou`; `_0`, `_1`, ...: layers before the last.

    All are divided by the number of objects of the batch. Every layer is matched by itself.

    Args:
        matcher: assigns queries to objects; boxes are judged by its `box_metric` too.
        class_weight, bbox_weight, giou_weight: weights of the three losses.
        alpha: weight of positives in the focal loss; gamma: its focusing exponent.
        position_supervision: trains class scores towards the overlap with the object instead of 1.
    """

    def __init__(
        self,
        matcher: HungarianMatcher,
        *,
        class_weight: float = 1.0,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        position_supervision: PositionSupervision | None = None,
    ):
        super().__init__()
        self.matcher = matcher
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.giou_weight = giou_weight
        self.alpha = alpha
        self.gamma = gamma
        self.position_supervision = position_supervision
        self.weight_of_class: Tensor | None
        self.register_buffer("weight_of_class", None, persistent=False)

    def compute_losses(
        self,
        predictions: Sequence[LayerOutputs],
        targets: Sequence[Targets],
        assignments: Sequence[Indices],
        num_targets: float,
        class_weight: float | None = None,
    ) -> list[dict[str, Tensor]]:
        """Losses of S sets of predictions of one shape, all at once.

        Args:
            predictions: (B, Q, K) `pred_logits` and (B, Q, 4) `pred_boxes` of each set.
            targets: objects of each image.
            assignments: the matched pairs of each set, as its matcher returns them.
            num_targets: what the losses are divided by.
            class_weight: weight of the class loss in place of the criterion's.

        Returns:
            The named losses of each set.
        """
        logits = _stack([one["pred_logits"] for one in predictions])  # (S, B, Q, K)
        boxes = _stack([one["pred_boxes"] for one in predictions])  # (S, B, Q, 4)
        matched, objects, counts = _flatten(assignments, targets, queries=boxes.shape[2])
        matched, objects = torch.stack([matched, objects]).to(logits.device)  # (P,) each, in one copy
        labels = torch.cat([image.labels for image in targets])[objects]
        target_boxes = torch.cat([image.boxes for image in targets])[objects].to(boxes.dtype)  # (P, 4)

        matched_boxes, metric = boxes.flatten(0, 2)[matched], self.matcher.box_metric  # (P, 4)
        focal = self._class_loss(logits, matched, labels, matched_boxes, target_boxes)  # (S, B, Q, K)
        if self.weight_of_class is not None:
            weights = logits.new_ones(logits.shape[:-1])  # (S, B, Q)
            weights.flatten()[matched] = self.weight_of_class.to(weights)[labels]
            focal = focal * weights[..., None]
        focal = focal.flatten(1).sum(1)  # (S,)
        distance = l1_loss(metric.coordinates(matched_boxes), metric.coordinates(target_boxes)).split(counts)
        giou = giou_loss(matched_boxes, target_boxes, metric.giou_eps).split(counts)
        scale, class_weight = 1.0 / num_targets, self.class_weight if class_weight is None else class_weight
        return [
            {
                "loss_class": class_weight * scale * of_class,
                "loss_bbox": self.bbox_weight * scale * of_distance.sum(),
                "loss_giou": self.giou_weight * scale * of_giou.sum(),
            }
            for of_class, of_distance, of_giou in zip(focal, distance, giou, strict=True)
        ]

    def _class_loss(
        self, logits: Tensor, matched: Tensor, labels: Tensor, matched_boxes: Tensor, target_boxes: Tensor
    ) -> Tensor:
        """(S, B, Q, K) logits, (P,) places of the matched queries and their classes, (P, 4) boxes -> (S, B, Q, K)."""
        position = self.position_supervision
        if position is None:
            onehot = torch.zeros_like(logits)
            onehot.flatten(0, 2)[matched, labels] = 1.0
            return sigmoid_focal_loss(logits, onehot, self.alpha, self.gamma)
        sets, images, queries, _ = logits.shape
        matched_logits = logits.flatten(0, 2)[matched, labels]  # (P,)
        corners = box_cxcywh_to_xyxy(matched_boxes), box_cxcywh_to_xyxy(target_boxes)
        overlap = box_iou(*corners, self.matcher.box_metric.giou_eps)
        soft = position.targets(matched_logits.sigmoid(), overlap, matched // queries, sets * images)
        of_pairs = soft_focal_loss(matched_logits, soft, self.alpha, self.gamma)
        of_others = negative_focal_loss(logits, self.alpha, self.gamma)
        return of_others.flatten(0, 2).index_put((matched, labels), of_pairs).view_as(logits)

    def match_and_compute_losses(
        self, predictions: Mapping[str, LayerOutputs], targets: Sequence[Targets], num_targets: float
    ) -> dict[str, Tensor]:
        """`compute_losses` with the matcher's assignments.

        Args:
            predictions: suffix of the losses' names -> (B, Q, K) `pred_logits` and (B, Q, 4) `pred_boxes`.
            targets, num_targets: see `compute_losses`.
        """
        sets = list(predictions.values())
        losses = self.compute_losses(sets, targets, self.matcher.match_sets(sets, targets), num_targets)
        return suffixed(dict(zip(predictions, losses, strict=True)))

    def forward(self, outputs: Mapping[str, Any], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """All losses of a training step.

        Args:
            outputs: `pred_logits` (B, Q, K), `pred_boxes` (B, Q, 4) cxcywh over the image, `aux_outputs`.
            targets: objects of each image.

        Returns:
            Weighted scalars; the same names for every batch, whatever it holds.
        """
        device = outputs["pred_logits"].device
        with torch.autocast(device.type, enabled=False):
            return self.match_and_compute_losses(by_layer(outputs), targets, count_targets(targets, device))


def by_layer(outputs: Mapping[str, Any]) -> dict[str, LayerOutputs]:
    """Predictions by the suffix of their losses: none for the last layer, `_0`, `_1`, ... for those before it.

    Each has (B, Q, K) `pred_logits` and (B, Q, 4) `pred_boxes`.
    """
    last = LayerOutputs(pred_logits=outputs["pred_logits"], pred_boxes=outputs["pred_boxes"])
    return {"": last, **{f"_{layer}": earlier for layer, earlier in enumerate(outputs["aux_outputs"])}}


def suffixed(losses: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Suffix -> losses, which are scalars (), as losses by their whole names."""
    return {name + suffix: loss for suffix, named in losses.items() for name, loss in named.items()}


def _stack(tensors: list[Tensor]) -> Tensor:
    stacked = torch.stack(tensors)
    return stacked.to(torch.promote_types(stacked.dtype, torch.float32))


def _flatten(
    assignments: Sequence[Indices], targets: Sequence[Targets], queries: int
) -> tuple[Tensor, Tensor, list[int]]:
    """Places (P,) of the matched predictions among all S * B * Q, those of their objects among the batch's, P by set.

    All on the CPU, where the matcher left the indices.
    """
    first_object = [0, *accumulate(len(image) for image in targets)]
    predictions, objects = [], []
    for number, indices in enumerate(assignments):
        for image, (query, target) in enumerate(indices):
            predictions.append((number * len(indices) + image) * queries + query)
            objects.append(first_object[image] + target)
    counts = [sum(len(query) for query, _ in indices) for indices in assignments]
    return torch.cat(predictions), torch.cat(objects), counts

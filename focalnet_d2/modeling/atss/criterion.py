"""ATSS's losses: class, box and centreness of anchors (arXiv:1912.02424; arXiv:1904.01355, section 3).

Shapes: B images, N anchors of all levels, P anchors with an object, K classes, M objects.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor, nn

from focalnet_d2.layers.box_ops import generalized_box_iou
from focalnet_d2.set_prediction.losses import object_weights, sigmoid_focal_loss
from focalnet_d2.set_prediction.targets import checked_labels, mean_over_processes
from focalnet_d2.utils.step_totals import total

from ..box_deltas import BoxDeltas
from .assigner import assign_anchors, centerness
from .head import DensePredictions

DELTAS = BoxDeltas((10.0, 10.0, 5.0, 5.0))


class ATSSCriterion(nn.Module):
    """Weighted losses `loss_class`, `loss_bbox` (generalised IoU) and `loss_centerness`.

    Class and centreness are divided by the number of anchors with an object, of which every image counts at least one;
    boxes are weighted by the centreness they should have and divided by its sum, at least 1. Both divisors are means
    over processes. So it is in mmdetection 2.28 and 3.3; 2.11 divides the boxes by smaller sums, too.

    Args:
        num_classes: classes K.
        class_weight, bbox_weight, centerness_weight: weights of the three losses.
        alpha, gamma: of the focal loss.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        class_weight: float = 1.0,
        bbox_weight: float = 2.0,
        centerness_weight: float = 1.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.centerness_weight = centerness_weight
        self.alpha = alpha
        self.gamma = gamma
        self.weight_of_class: Tensor | None
        self.register_buffer("weight_of_class", None, persistent=False)

    def assign(
        self, anchors: Sequence[Tensor], valid: Sequence[Tensor], instances: Sequence[Instances]
    ) -> tuple[Tensor, Tensor]:
        """Targets of every anchor of the batch.

        Args:
            anchors: (N_l, 4) xyxy pixels of each level.
            valid: (B, N_l) bool of each level: anchors outside an image take no object.
            instances: `gt_boxes` and `gt_classes` of each image.

        Returns:
            labels (B, N), -1 without object; boxes (B, N, 4) xyxy pixels, the anchor itself without object.

        Raises:
            ValueError: a class index outside 0..num_classes - 1.
        """
        all_anchors = torch.cat(list(anchors))
        labels, boxes = [], []
        for image, inside in zip(instances, zip(*valid, strict=True), strict=True):
            rows = torch.cat(inside).nonzero()[:, 0]
            objects = image.gt_boxes.tensor.to(all_anchors)
            classes = checked_labels(image, all_anchors.device, self.num_classes)
            owner = assign_anchors([level[kept] for level, kept in zip(anchors, inside, strict=True)], objects)
            taken = owner >= 0
            labels.append(rows.new_full((len(all_anchors),), -1))
            labels[-1][rows[taken]] = classes[owner[taken]]
            boxes.append(all_anchors.clone())
            boxes[-1][rows[taken]] = objects[owner[taken]]
        return torch.stack(labels), torch.stack(boxes)

    def note_divisors(self, anchors: Sequence[Tensor], valid: Sequence[Tensor], instances: Sequence[Instances]) -> None:
        """Notes what the losses are divided by, for anchors (N_l, 4) and the rest that `assign` takes."""
        labels, objects = self.assign(anchors, valid, instances)
        positive = labels >= 0
        self._divisors(positive, centerness(torch.cat(list(anchors)).expand_as(objects)[positive], objects[positive]))

    def _divisors(self, positive: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Of the batch, or of the whole step: anchors (B, N) with an object, and their centreness (P,) summed."""
        count = total("anchors with an object", positive.sum(1).clamp(min=1).sum().to(quality))
        weight = total("centreness of anchors", quality.sum())
        return mean_over_processes(count), mean_over_processes(weight).clamp(min=1)

    def forward(
        self,
        predictions: Sequence[DensePredictions],
        anchors: Sequence[Tensor],
        valid: Sequence[Tensor],
        instances: Sequence[Instances],
    ) -> dict[str, Tensor]:
        """Losses of a training step.

        Args:
            predictions: of each level.
            anchors, valid, instances: see `assign`; anchors that are not valid are not judged either.

        Returns:
            Weighted scalars.
        """
        logits, deltas, centerness_logits = (torch.cat(part, dim=1) for part in zip(*predictions, strict=True))
        labels, objects = self.assign(anchors, valid, instances)
        positive, judged = labels >= 0, torch.cat(list(valid), dim=1)  # (B, N) each
        onehot = torch.zeros_like(logits)
        onehot[(*positive.nonzero(as_tuple=True), labels[positive])] = 1.0
        matched_anchors = torch.cat(list(anchors)).expand_as(objects)[positive]  # (P, 4)
        quality = centerness(matched_anchors, objects[positive])  # (P,)
        iou = generalized_box_iou(DELTAS.apply_deltas(deltas[positive], matched_anchors), objects[positive])  # (P,)
        central = F.binary_cross_entropy_with_logits(centerness_logits[positive], quality, reduction="sum")
        count, weight = self._divisors(positive, quality)
        focal = sigmoid_focal_loss(logits[judged], onehot[judged], self.alpha, self.gamma)
        if self.weight_of_class is not None:
            focal = focal * object_weights(self.weight_of_class, labels[judged])[:, None]
        return {
            "loss_class": self.class_weight * focal.sum() / count,
            "loss_bbox": self.bbox_weight * (quality * (1 - iou)).sum() / weight,
            "loss_centerness": self.centerness_weight * central / count,
        }

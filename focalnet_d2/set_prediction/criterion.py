"""Losses of query-based box detectors: class, L1 and generalised IoU of matched predictions, for every layer.

Shapes: B images, Q queries, K classes, P matched pairs.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .losses import giou_loss, l1_loss, sigmoid_focal_loss
from .matcher import HungarianMatcher, Indices
from .targets import Targets, count_targets


class SetCriterion(nn.Module):
    """Weighted losses by name: `loss_class`, `loss_bbox`, `loss_giou`; `_0`, `_1`, ...: layers before the last.

    All are divided by the number of objects of the batch. Every layer is matched by itself.

    Args:
        matcher: assigns queries to objects; boxes are judged by its `box_metric` too.
        class_weight, bbox_weight, giou_weight: weights of the three losses.
        alpha, gamma: of the focal loss.
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
    ):
        super().__init__()
        self.matcher = matcher
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.giou_weight = giou_weight
        self.alpha = alpha
        self.gamma = gamma

    def judge(
        self, outputs: Mapping[str, Tensor], targets: Sequence[Targets], indices: Indices, num_targets: float
    ) -> dict[str, Tensor]:
        """Losses of one set of predictions: (B, Q, K) `pred_logits`, (B, Q, 4) `pred_boxes`, and its assignment."""
        dtype = torch.promote_types(outputs["pred_logits"].dtype, torch.float32)
        logits, boxes = outputs["pred_logits"].to(dtype), outputs["pred_boxes"].to(dtype)
        device = logits.device
        images = torch.cat([torch.full_like(query, i) for i, (query, _) in enumerate(indices)]).to(device)
        queries = torch.cat([query for query, _ in indices]).to(device)
        labels = torch.cat(
            [image.labels[target.to(device)] for image, (_, target) in zip(targets, indices, strict=True)]
        )
        wanted = torch.cat(
            [image.boxes[target.to(device)] for image, (_, target) in zip(targets, indices, strict=True)]
        )

        onehot = torch.zeros_like(logits)
        onehot[images, queries, labels] = 1.0
        matched, wanted = boxes[images, queries], wanted.to(dtype)  # (P, 4) each
        metric = self.matcher.box_metric
        distance = l1_loss(metric.coordinates(matched), metric.coordinates(wanted))
        scale = 1.0 / num_targets
        return {
            "loss_class": self.class_weight * scale * sigmoid_focal_loss(logits, onehot, self.alpha, self.gamma),
            "loss_bbox": self.bbox_weight * scale * distance,
            "loss_giou": self.giou_weight * scale * giou_loss(matched, wanted, metric.giou_eps),
        }

    def judge_matched(
        self, outputs: Mapping[str, Tensor], targets: Sequence[Targets], num_targets: float
    ) -> dict[str, Tensor]:
        """`judge` with the assignment that the matcher finds."""
        indices = self.matcher(outputs["pred_logits"], outputs["pred_boxes"], targets)
        return self.judge(outputs, targets, indices, num_targets)

    def judge_layers(self, outputs: Mapping, targets: Sequence[Targets], num_targets: float) -> dict[str, Tensor]:
        """Losses of the last layer and of `aux_outputs`, the layers before it."""
        losses = self.judge_matched(outputs, targets, num_targets)
        for layer, earlier in enumerate(outputs["aux_outputs"]):
            losses |= suffixed(self.judge_matched(earlier, targets, num_targets), f"_{layer}")
        return losses

    def forward(self, outputs: Mapping, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """All losses of a training step.

        Args:
            outputs: `pred_logits` (B, Q, K), `pred_boxes` (B, Q, 4) cxcywh over the image, `aux_outputs`.
            targets: objects of each image.

        Returns:
            Weighted scalars; the same names for every batch, whatever it holds.
        """
        device = outputs["pred_logits"].device
        with torch.autocast(device.type, enabled=False):
            return self.judge_layers(outputs, targets, count_targets(targets, device))


def suffixed(losses: Mapping[str, Tensor], suffix: str) -> dict[str, Tensor]:
    """The same losses with longer names."""
    return {name + suffix: loss for name, loss in losses.items()}

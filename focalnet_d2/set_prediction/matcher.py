"""One-to-one assignment of predictions to targets (DETR, arXiv:2005.12872, equation 1)."""

import logging
from collections.abc import Iterable, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from .box_metric import BoxMetric, CxcywhBoxMetric
from .costs import (
    focal_cost,
    pairwise_class_cost,
    pairwise_dice_cost,
    pairwise_focal_cost,
    pairwise_giou_cost,
    pairwise_l1_cost,
    pairwise_mask_cost,
)
from .outputs import LayerOutputs
from .position import PositionModulation
from .targets import Targets

Pairs = tuple[Tensor, Tensor]  # predictions, targets (P,) each
Indices = list[Pairs]  # per image

_logger = logging.getLogger(__name__)
_UNAFFORDABLE = 1e6  # far above any real cost, far below what would drown the others' digits


class HungarianAssignment(nn.Module):
    """Hungarian algorithm. Non-finite costs become unaffordable instead of an error.

    Attributes:
        non_finite_costs: how many there were so far.
    """

    def __init__(self):
        super().__init__()
        self.non_finite_costs = 0

    @torch.no_grad()
    def assign(self, cost: Tensor) -> Pairs:
        """(Q, M) -> min(Q, M) pairs on the CPU, in the order of predictions."""
        queries, targets = linear_sum_assignment(self._finite(cost.cpu()).numpy())
        return torch.as_tensor(queries, dtype=torch.int64), torch.as_tensor(targets, dtype=torch.int64)

    def _finite(self, cost: Tensor) -> Tensor:
        broken = ~cost.isfinite()
        count = int(broken.sum())
        if count:
            self.non_finite_costs += count
            _logger.warning("%d of %d matching costs are not finite", count, cost.numel())
            cost = cost.masked_fill(broken, _UNAFFORDABLE)
        return cost


class HungarianMatcher(HungarianAssignment):
    """Matching of boxes: focal class cost, L1 and generalised IoU, in float32 at least.

    Args:
        class_weight, bbox_weight, giou_weight: weights of the three costs.
        alpha: weight of positives in the focal cost; gamma: its focusing exponent.
        box_metric: how boxes are compared, here and by the criterion that uses the matcher; default: DETR's.
        position_modulation: lowers the probabilities in the class cost of queries that are far from the object.
    """

    def __init__(
        self,
        class_weight: float = 2.0,
        *,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        box_metric: BoxMetric | None = None,
        position_modulation: PositionModulation | None = None,
    ):
        super().__init__()
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.giou_weight = giou_weight
        self.alpha = alpha
        self.gamma = gamma
        self.box_metric = CxcywhBoxMetric() if box_metric is None else box_metric
        self.position_modulation = position_modulation

    def cost(self, logits: Tensor, boxes: Tensor, targets: Targets, factors: Tensor | None = None) -> Tensor:
        """(Q, K) logits, (Q, 4) boxes, M targets, (Q, M) factors of the probabilities -> (Q, M)."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        logits, boxes, target_boxes = logits.to(dtype), boxes.to(dtype), targets.boxes.to(dtype)
        metric = self.box_metric
        if factors is None:
            class_cost = pairwise_focal_cost(logits, targets.labels, self.alpha, self.gamma)
        else:
            class_cost = focal_cost(logits.sigmoid()[:, targets.labels] * factors, self.alpha, self.gamma)
        return (
            self.class_weight * class_cost
            + self.bbox_weight * pairwise_l1_cost(metric.coordinates(boxes), metric.coordinates(target_boxes))
            + self.giou_weight * pairwise_giou_cost(boxes, target_boxes, metric.giou_eps)
        )

    def forward(self, pred_logits: Tensor, pred_boxes: Tensor, targets: Sequence[Targets]) -> Indices:
        """(B, Q, K), (B, Q, 4) cxcywh and B targets -> the pairs of each image."""
        return self.match_sets([{"pred_logits": pred_logits, "pred_boxes": pred_boxes}], targets)[0]

    @torch.no_grad()
    def match_sets(self, predictions: Sequence[LayerOutputs], targets: Sequence[Targets]) -> list[Indices]:
        """S times (B, Q, K) `pred_logits` and (B, Q, 4) `pred_boxes` -> the pairs of each set, matched by itself.

        An image's costs are computed for all sets at once, and all of them leave the device in one copy.
        """
        logits = torch.stack([one["pred_logits"] for one in predictions])  # (S, B, Q, K)
        boxes = torch.stack([one["pred_boxes"] for one in predictions])  # (S, B, Q, 4)
        sets, _, queries, _ = boxes.shape
        with torch.autocast(boxes.device.type, enabled=False):
            costs = [
                self.cost(logits[:, i].flatten(0, 1), boxes[:, i].flatten(0, 1), image, factors)  # (S * Q, M)
                for i, (image, factors) in enumerate(zip(targets, self._factors(boxes, targets), strict=True))
            ]
        copied = torch.cat([cost.flatten() for cost in costs]).cpu().split([cost.numel() for cost in costs])
        by_image = [
            [self.assign(cost) for cost in part.view(sets, queries, len(image))]
            for part, image in zip(copied, targets, strict=True)
        ]
        return [list(indices) for indices in zip(*by_image, strict=True)]

    def _factors(self, boxes: Tensor, targets: Sequence[Targets]) -> list[Tensor] | list[None]:
        """Of the probabilities of each image's queries: (S, B, Q, 4) -> B times (S * Q, M)."""
        if self.position_modulation is None:
            return [None] * len(targets)
        boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
        by_image = self.position_modulation.factors(boxes, targets, self.box_metric.giou_eps)
        return [factors.flatten(0, 1) for factors in by_image]


class MaskMatcher(HungarianAssignment):
    """Matching of masks by their values at points: class, cross-entropy and dice cost, in float32 at least.

    Args:
        class_weight, mask_weight, dice_weight: weights of the three costs.
    """

    def __init__(self, class_weight: float = 2.0, *, mask_weight: float = 5.0, dice_weight: float = 5.0):
        super().__init__()
        self.class_weight = class_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight

    def cost(self, logits: Tensor, mask_logits: Tensor, labels: Tensor, target_masks: Tensor) -> Tensor:
        """(Q, K + 1) and (Q, P) logits, (M,) labels, (M, P) in [0, 1] -> (Q, M)."""
        dtype = torch.promote_types(mask_logits.dtype, torch.float32)
        logits, mask_logits, target_masks = logits.to(dtype), mask_logits.to(dtype), target_masks.to(dtype)
        return (
            self.class_weight * pairwise_class_cost(logits, labels)
            + self.mask_weight * pairwise_mask_cost(mask_logits, target_masks)
            + self.dice_weight * pairwise_dice_cost(mask_logits, target_masks)
        )

    @torch.no_grad()
    def forward(
        self, logits: Iterable[Tensor], mask_logits: Iterable[Tensor], labels: Tensor, target_masks: Tensor
    ) -> list[Pairs]:
        """One image, S predictions of it -> the pairs of each.

        Args:
            logits: S times (Q, K + 1); mask_logits: S times (Q, P).
            labels: (M,); target_masks: (M, P) in [0, 1].
        """
        with torch.autocast(target_masks.device.type, enabled=False):
            costs = [self.cost(*one, labels, target_masks) for one in zip(logits, mask_logits, strict=True)]
            return [self.assign(cost) for cost in torch.stack(costs).cpu()]  # one copy from the device

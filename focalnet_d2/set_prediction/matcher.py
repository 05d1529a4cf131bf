"""One-to-one assignment of predictions to targets (DETR, arXiv:2005.12872, equation 1)."""

import logging
from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from .costs import pairwise_focal_cost, pairwise_giou_cost, pairwise_l1_cost
from .targets import Targets

Indices = list[tuple[Tensor, Tensor]]  # per image: predictions, targets (P,) each

_logger = logging.getLogger(__name__)
_UNAFFORDABLE = 1e6  # far above any real cost, far below what would drown the others' digits


class HungarianMatcher(nn.Module):
    """The assignment of least total cost: focal class cost, L1 and generalised IoU of the boxes.

    Costs are computed in float32 at least. Non-finite ones become unaffordable instead of an error; how many there
    were so far is in `non_finite_costs`.

    Args:
        class_weight, bbox_weight, giou_weight: weights of the three costs.
        alpha, gamma: of the focal cost.
    """

    def __init__(
        self,
        class_weight: float = 2.0,
        *,
        bbox_weight: float = 5.0,
        giou_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
    ):
        super().__init__()
        self.class_weight = class_weight
        self.bbox_weight = bbox_weight
        self.giou_weight = giou_weight
        self.alpha = alpha
        self.gamma = gamma
        self.non_finite_costs = 0

    def cost(self, logits: Tensor, boxes: Tensor, targets: Targets) -> Tensor:
        """(Q, K) logits, (Q, 4) boxes, M targets -> (Q, M)."""
        dtype = torch.promote_types(logits.dtype, torch.float32)
        logits, boxes, target_boxes = logits.to(dtype), boxes.to(dtype), targets.boxes.to(dtype)
        return (
            self.class_weight * pairwise_focal_cost(logits, targets.labels, self.alpha, self.gamma)
            + self.bbox_weight * pairwise_l1_cost(boxes, target_boxes)
            + self.giou_weight * pairwise_giou_cost(boxes, target_boxes)
        )

    def _finite(self, cost: Tensor) -> Tensor:
        broken = ~cost.isfinite()
        count = int(broken.sum())
        if count:
            self.non_finite_costs += count
            _logger.warning("%d of %d matching costs are not finite", count, cost.numel())
            cost = cost.masked_fill(broken, _UNAFFORDABLE)
        return cost

    @torch.no_grad()
    def forward(self, pred_logits: Tensor, pred_boxes: Tensor, targets: Sequence[Targets]) -> Indices:
        """(B, Q, K), (B, Q, 4) cxcywh and B targets -> per image min(Q, M) pairs, in the order of predictions."""
        indices = []
        with torch.autocast(pred_logits.device.type, enabled=False):
            for logits, boxes, image in zip(pred_logits, pred_boxes, targets, strict=True):
                cost = self._finite(self.cost(logits, boxes, image).cpu())  # (Q, M)
                pairs = linear_sum_assignment(cost.numpy())
                indices.append(tuple(torch.as_tensor(side, dtype=torch.int64) for side in pairs))
        return indices

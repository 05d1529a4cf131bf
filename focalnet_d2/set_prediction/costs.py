"""Costs of giving a prediction to a target (DETR, arXiv:2005.12872, section 3.1; Mask2Former, arXiv:2112.01527).

Q predictions, M targets, K classes, P points.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, generalized_box_iou


def pairwise_focal_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """`focal_cost` of each prediction for each target's class: (Q, K), (M,) -> (Q, M)."""
    return focal_cost(logits.sigmoid(), alpha, gamma)[:, labels]


def focal_cost(probability: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of calling a prediction a class minus that of denying it, of any shape."""
    positive = alpha * (1 - probability) ** gamma * -(probability + 1e-8).log()
    negative = (1 - alpha) * probability**gamma * -(1 - probability + 1e-8).log()
    return positive - negative


def pairwise_l1_cost(boxes: Tensor, target_boxes: Tensor) -> Tensor:
    """Sum of absolute coordinate differences: (Q, 4), (M, 4) of one format -> (Q, M)."""
    return torch.cdist(boxes, target_boxes, p=1)


def pairwise_giou_cost(boxes: Tensor, target_boxes: Tensor, eps: float = 1e-6) -> Tensor:
    """Negative generalised IoU: (Q, 4), (M, 4) normalised cxcywh -> (Q, M)."""
    return -generalized_box_iou(box_cxcywh_to_xyxy(boxes)[:, None], box_cxcywh_to_xyxy(target_boxes)[None], eps)


def pairwise_class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative probability of the target's class: (Q, K + 1), (M,) -> (Q, M)."""
    return -logits.softmax(-1)[:, labels]


def pairwise_mask_cost(mask_logits: Tensor, target_masks: Tensor) -> Tensor:
    """Mean binary cross-entropy over the points: (Q, P) logits, (M, P) in [0, 1] -> (Q, M)."""
    outside = F.softplus(mask_logits).sum(-1, keepdim=True)  # (Q, 1); a point that is inside costs its logit less
    return (outside - mask_logits @ target_masks.T) / mask_logits.shape[-1]


def pairwise_dice_cost(mask_logits: Tensor, target_masks: Tensor) -> Tensor:
    """Dice cost over the points: (Q, P) logits, (M, P) in [0, 1] -> (Q, M)."""
    probabilities = mask_logits.sigmoid()
    overlap = probabilities @ target_masks.T  # (Q, M)
    total = probabilities.sum(-1, keepdim=True) + target_masks.sum(-1)  # (Q, M)
    return 1 - (2 * overlap + 1) / (total + 1)  # + 1: empty against empty costs nothing

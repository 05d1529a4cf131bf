"""Costs of giving a prediction to a target (DETR, arXiv:2005.12872, section 3.1). Q predictions, M targets."""

import torch
from torch import Tensor

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, generalized_box_iou


def pairwise_focal_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of calling a prediction the target's class minus that of denying it: (Q, K), (M,) -> (Q, M)."""
    probability = logits.sigmoid()
    positive = alpha * (1 - probability) ** gamma * -(probability + 1e-8).log()
    negative = (1 - alpha) * probability**gamma * -(1 - probability + 1e-8).log()
    return (positive - negative)[:, labels]


def pairwise_l1_cost(boxes: Tensor, target_boxes: Tensor) -> Tensor:
    """Sum of absolute coordinate differences: (Q, 4), (M, 4) normalised cxcywh -> (Q, M)."""
    return torch.cdist(boxes, target_boxes, p=1)


def pairwise_giou_cost(boxes: Tensor, target_boxes: Tensor) -> Tensor:
    """Negative generalised IoU: (Q, 4), (M, 4) normalised cxcywh -> (Q, M)."""
    return -generalized_box_iou(box_cxcywh_to_xyxy(boxes)[:, None], box_cxcywh_to_xyxy(target_boxes)[None])

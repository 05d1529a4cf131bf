"""Losses of predictions, by element or by matched pair; criteria add them up and divide by the number of targets."""

import torch
import torch.nn.functional as F
from torch import Tensor

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, generalized_box_iou


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss (arXiv:1708.02002, equation 5): logits and 0/1 targets of one shape -> that shape."""
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = probability * (1 - targets) + (1 - probability) * targets  # 1 - probability of the truth
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * miss**gamma * cross_entropy


def soft_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of positives whose targets are any numbers in [0, 1] (arXiv:2304.13027, equation 2): of one shape.

    The logarithm of the probability is that of the logit, so that it stays finite where the probability rounds to 0.
    """
    probability = logits.sigmoid()
    cross_entropy = -targets * F.logsigmoid(logits) - (1 - targets) * _log_of_rest(logits)
    return alpha * (targets - probability).abs() ** gamma * cross_entropy


def negative_focal_loss(logits: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of what belongs to no object, as Stable-DINO rounds it, of any shape."""
    return (1 - alpha) * logits.sigmoid() ** gamma * -_log_of_rest(logits)


def _log_of_rest(logits: Tensor) -> Tensor:
    """Logarithm of 1 - probability, which ends at that of 1e-8."""
    return ((-logits).sigmoid() + 1e-8).log()


def l1_loss(boxes: Tensor, target_boxes: Tensor) -> Tensor:
    """Sum of absolute coordinate differences of each pair: (P, 4), (P, 4) -> (P,)."""
    return (boxes - target_boxes).abs().sum(-1)


def giou_loss(boxes: Tensor, target_boxes: Tensor, eps: float = 1e-6) -> Tensor:
    """1 - generalised IoU of each pair: (P, 4), (P, 4) normalised cxcywh -> (P,)."""
    return 1 - generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(target_boxes), eps)


def mask_loss(mask_logits: Tensor, target_masks: Tensor) -> Tensor:
    """Mean binary cross-entropy of the points of each pair: (M, P), (M, P) in [0, 1] -> (M,)."""
    return F.binary_cross_entropy_with_logits(mask_logits, target_masks, reduction="none").mean(-1)


def dice_loss(mask_logits: Tensor, target_masks: Tensor) -> Tensor:
    """1 - dice coefficient of the points of each pair: (M, P), (M, P) in [0, 1] -> (M,)."""
    probabilities = mask_logits.sigmoid()
    overlap = (probabilities * target_masks).sum(-1)  # (M,)
    return 1 - (2 * overlap + 1) / (probabilities.sum(-1) + target_masks.sum(-1) + 1)


def object_weights(weight_of_class: Tensor, labels: Tensor) -> Tensor:
    """Factor of the class loss of each element, by what it is trained on.

    Args:
        weight_of_class: (K,).
        labels: of any shape; those that are no class, such as background, weigh 1.

    Returns:
        Factors in the shape of the labels.
    """
    is_class = (labels >= 0) & (labels < len(weight_of_class))
    return torch.where(is_class, weight_of_class[labels.clamp(0, len(weight_of_class) - 1)], 1.0)

"""Box arithmetic of the query-based heads: formats, generalised IoU, the guarded inverse of the sigmoid."""

import torch
from torch import Tensor


def box_cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre, width and height -> (..., 4) corners."""
    center, size = boxes.split(2, dim=-1)
    return torch.cat([center - size / 2, center + size / 2], dim=-1)


def box_xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners -> (..., 4) centre, width and height."""
    low, high = boxes.split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def _area(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(-1)


def _overlap_and_union(boxes1_xyxy: Tensor, boxes2_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Areas (...) that both boxes and that either box covers."""
    low = torch.maximum(boxes1_xyxy[..., :2], boxes2_xyxy[..., :2])
    high = torch.minimum(boxes1_xyxy[..., 2:], boxes2_xyxy[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    return overlap, _area(boxes1_xyxy) + _area(boxes2_xyxy) - overlap


def box_iou(boxes1_xyxy: Tensor, boxes2_xyxy: Tensor, eps: float = 1e-6) -> Tensor:
    """Intersection over union of boxes that broadcast: (..., 4), (..., 4) -> (...), in [0, 1]; `eps` as below."""
    overlap, union = _overlap_and_union(boxes1_xyxy, boxes2_xyxy)
    return overlap / (union + eps)


def generalized_box_iou(boxes1_xyxy: Tensor, boxes2_xyxy: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalised IoU (arXiv:1902.09630) of boxes that broadcast: (..., 4), (..., 4) -> (...), in [-1, 1].

    Both denominators carry `eps`, as in the published DINO, so that boxes without area give a finite value. Pairs of
    two lists: `generalized_box_iou(a[:, None], b[None])`.
    """
    overlap, union = _overlap_and_union(boxes1_xyxy, boxes2_xyxy)
    hull_low = torch.minimum(boxes1_xyxy[..., :2], boxes2_xyxy[..., :2])
    hull_high = torch.maximum(boxes1_xyxy[..., 2:], boxes2_xyxy[..., 2:])
    hull = (hull_high - hull_low).clamp(min=0).prod(-1)
    return overlap / (union + eps) - (hull - union) / (hull + eps)


def inverse_sigmoid(x: Tensor, eps: float = 1e-3) -> Tensor:
    """Logit of x, of any shape, clamped to [0, 1]; numerator and denominator are at least `eps` (DINO's value)."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))

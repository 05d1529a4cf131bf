"""Exact greedy suppression of boxes without a shape that depends on values, as exported graphs need it.

Both computations are loops of unknown length around a step. The TorchScript tracer keeps such a loop when it stands in
a scripted function, `torch.export` when it is a `while_loop`; in ONNX it becomes the operator Loop.

Shapes: B images, G groups of boxes, N boxes, K classes, D detections.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop


def unsuppressed(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """The valid boxes that no better kept box of their group overlaps: (G, N) bool.

    A box is kept if none before it is both kept and too near. Starting from all valid boxes, the rule is applied to all
    boxes at once until nothing changes. After n times the first n boxes are right, so the end is the greedy result; it
    is reached after as many times as the longest chain of boxes, each of which drops the next.

    Args:
        boxes: (G, N, 4) XYXY, best first.
        valid: (G, N) bool; other boxes are not kept and drop none.
        threshold: boxes with a larger IoU are too near.
    """
    before = torch.ones(boxes.shape[1], boxes.shape[1], device=boxes.device).triu(1)  # (N, N)
    near = (pairwise_iou(boxes, boxes) > largest_float(threshold)) * before  # (G, N, N), 1: the row drops the column
    candidates = valid.to(near.dtype)
    if torch.compiler.is_exporting():
        kept = _exported_settling(candidates, near)
    else:
        kept = _settle(candidates, near)
    return kept > 0


def pick_detections(
    boxes: Tensor, scores: Tensor, count: int, *, score_threshold: float, nms_threshold: float
) -> tuple[Tensor, Tensor]:
    """The best boxes of all classes, without those that a better one of their class overlaps.

    Args:
        boxes: (B, N, K, 4) XYXY of each class.
        scores: (B, N, K), not negative.
        count: detections D.
        score_threshold: only higher scores count.
        nms_threshold: of two boxes of a class with a larger IoU the worse one goes.

    Returns:
        Scores (B, D), best first, 0 where there are no more detections, and their places (B, D) in N * K.
    """
    remaining = scores * (scores > score_threshold)  # (B, N, K)
    picked = remaining.new_zeros(boxes.shape[0], count)  # (B, D)
    places = torch.zeros_like(picked, dtype=torch.int64)
    limit = largest_float(nms_threshold)
    if torch.compiler.is_exporting():
        return _exported_picking(remaining, picked, places, boxes, limit)
    return _pick(remaining, picked, places, boxes, limit)


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU as torchvision's suppression computes it: (G, N, 4), (G, M, 4) -> (G, N, M); NaN where both have no area."""
    left, top, right, bottom = boxes[:, :, None].unbind(-1)  # (G, N, 1) each
    other_left, other_top, other_right, other_bottom = others[:, None].unbind(-1)  # (G, 1, M) each
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp(min=0)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp(min=0)
    shared = width * height
    areas = (right - left) * (bottom - top)
    return shared / (areas + (other_right - other_left) * (other_bottom - other_top) - shared)


def largest_float(threshold: float) -> float:
    """The largest float32 that is not above a number: `x > threshold` then is the same in float32 and in float64."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-math.inf)) if float(rounded) > threshold else rounded)


def _settling_step(kept: Tensor, candidates: Tensor, near: Tensor) -> Tensor:
    dropped = (kept[:, None] @ near)[:, 0]  # (G, N): by how many kept boxes
    return candidates * (dropped < 0.5).to(candidates.dtype)


@torch.jit.script_if_tracing
def _settle(candidates: Tensor, near: Tensor) -> Tensor:
    kept = candidates
    changed = True
    while changed:
        new = _settling_step(kept, candidates, near)
        changed = bool((new != kept).any())
        kept = new
    return kept


def _exported_settling(candidates: Tensor, near: Tensor) -> Tensor:
    def step(kept: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
        new = _settling_step(kept, candidates, near)
        return new, (new != kept).any()

    start = (candidates, torch.ones((), dtype=torch.bool, device=candidates.device))
    return while_loop(lambda kept, changed: changed.clone(), step, start)[0]


def _picking_step(
    index: Tensor, remaining: Tensor, picked: Tensor, places: Tensor, boxes: Tensor, limit: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_classes = remaining.shape[2]
    best, place = remaining.flatten(1).max(dim=1)  # (B,)
    row, class_id = place // num_classes, place % num_classes
    of_class = (torch.arange(num_classes, device=boxes.device) == class_id[:, None])[:, None]  # (B, 1, K)
    itself = (torch.arange(remaining.shape[1], device=boxes.device) == row[:, None])[:, :, None]  # (B, N, 1)
    columns = class_id[:, None, None, None].expand(-1, boxes.shape[1], 1, 4)
    same = boxes.gather(2, columns)[:, :, 0]  # (B, N, 4), of the class
    one = same.gather(1, row[:, None, None].expand(-1, 1, 4))  # (B, 1, 4)
    near = (pairwise_iou(one, same)[:, 0] > limit)[:, :, None]  # (B, N, 1)
    remaining = remaining.masked_fill((near | itself) & of_class, 0.0)
    now = torch.arange(picked.shape[1], device=boxes.device) == index  # (D,)
    return index + 1, remaining, torch.where(now, best[:, None], picked), torch.where(now, place[:, None], places)


def _picking_goes_on(index: Tensor, remaining: Tensor, picked: Tensor) -> Tensor:
    return (remaining > 0).any() & (index < picked.shape[1])


@torch.jit.script_if_tracing
def _pick(remaining: Tensor, picked: Tensor, places: Tensor, boxes: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    index = torch.zeros((), dtype=torch.int64, device=boxes.device)
    while bool(_picking_goes_on(index, remaining, picked)):
        index, remaining, picked, places = _picking_step(index, remaining, picked, places, boxes, limit)
    return picked, places


def _exported_picking(
    remaining: Tensor, picked: Tensor, places: Tensor, boxes: Tensor, limit: float
) -> tuple[Tensor, Tensor]:
    def goes_on(index: Tensor, remaining: Tensor, picked: Tensor, places: Tensor) -> Tensor:
        return _picking_goes_on(index, remaining, picked)

    def step(index: Tensor, remaining: Tensor, picked: Tensor, places: Tensor) -> tuple[Tensor, ...]:
        return _picking_step(index, remaining, picked, places, boxes, limit)

    index = torch.zeros((), dtype=torch.int64, device=boxes.device)
    _, _, picked, places = while_loop(goes_on, step, (index, remaining, picked, places))
    return picked, places

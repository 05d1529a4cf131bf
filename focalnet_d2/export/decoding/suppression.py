"""Greedy suppression of overlapping boxes in numpy, with the decisions of torchvision's `batched_nms`.

Shapes: N boxes.
"""

import numpy as np


def suppress(
    boxes: np.ndarray, scores: np.ndarray, class_ids: np.ndarray, threshold: float, max_boxes: int
) -> np.ndarray:
    """The boxes that no better kept box of their class overlaps, best first.

    Args:
        boxes: (N, 4) float32 XYXY.
        scores: (N,); equal ones keep their order.
        class_ids: (N,).
        threshold: a box goes when its IoU with a kept one is above it.
        max_boxes: at most so many are returned.

    Returns:
        Indices (n,) int64.
    """
    boxes, areas = boxes.astype(np.float32), box_areas(boxes.astype(np.float32))
    order = np.argsort(-scores, kind="stable")
    members = {class_id: order[class_ids[order] == class_id] for class_id in np.unique(class_ids)}  # that may be kept
    gone = np.zeros(len(order), bool)
    kept: list[int] = []
    for best in order:
        if len(kept) == max_boxes:
            break
        if gone[best]:
            continue
        kept.append(int(best))
        rest = members[class_ids[best]][1:]
        overlaps = intersection_over_union(boxes[best], areas[best], boxes[rest], areas[rest])
        above = overlaps.astype(np.float64) > threshold  # as torchvision compares: 0.6 as float32 is more than 0.6
        gone[rest[above]] = True
        members[class_ids[best]] = rest[~above]
    return np.array(kept, np.int64)


def intersection_over_union(box: np.ndarray, area: np.ndarray, boxes: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """IoU of a box (4,) with boxes (N, 4), all XYXY -> (N,); 0 where both have no area."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])  # (N, 2)
    shared = np.prod(np.maximum(sides, 0), axis=1)
    union = area + areas - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) XYXY -> (N,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

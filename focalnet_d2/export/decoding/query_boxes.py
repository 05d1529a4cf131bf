"""Boxes of a detector with queries: each says a box and a logit of every class.

Shapes: Q queries, K classes, N detections.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..result import Sizes
from .activations import sigmoid
from .boxes import clip_boxes
from .suppression import suppress


def decode(outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], sizes: Sizes) -> dict[str, np.ndarray]:
    """Detections of one image: `boxes`, `scores` and `class_ids`, best first.

    Args:
        outputs: `pred_logits` (Q, K), `pred_boxes` (Q, 4) cxcywh over the unpadded image.
        settings: `num_select`, the number of pairs of query and class to take; `clip_boxes`: cut boxes at the image's
            borders and drop empty ones; `nms_threshold`, the IoU above which the worse of two boxes of one class goes,
            before boxes are cut; None, as in files of earlier versions that lack it, keeps all.
        sizes: of the image.
    """
    scores = sigmoid(outputs["pred_logits"].astype(np.float32)).ravel()  # (Q * K,)
    pairs = _largest(scores, settings["num_select"])
    queries, class_ids = np.divmod(pairs, outputs["pred_logits"].shape[1])
    height, width = sizes.output
    boxes = _corners(outputs["pred_boxes"].astype(np.float32)[queries])
    boxes = boxes * np.array([width, height, width, height], np.float32)  # (N, 4)
    scores, kept = scores[pairs], np.arange(len(pairs))
    if (threshold := settings.get("nms_threshold")) is not None:
        kept = suppress(boxes, scores, class_ids, threshold, len(boxes))
    if settings["clip_boxes"]:
        boxes = clip_boxes(boxes, sizes.output)
        kept = kept[(boxes[kept, 2:] > boxes[kept, :2]).all(1)]
    return {"boxes": boxes[kept], "scores": scores[kept], "class_ids": class_ids[kept].astype(np.int64)}


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of the largest values, best first: (N,) -> (count,)."""
    first = np.argpartition(scores, -count)[-count:] if count < len(scores) else np.arange(len(scores))
    return first[np.argsort(-scores[first], kind="stable")]


def _corners(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) cxcywh -> (N, 4) XYXY."""
    center, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([center - half, center + half], axis=1)

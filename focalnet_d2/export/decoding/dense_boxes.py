"""Boxes of a dense detector: every cell of a feature map says a box, probabilities and how central it is.

Shapes: N candidates of all levels, K classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..result import Sizes
from .boxes import clip_boxes, to_output_size
from .suppression import suppress


def decode(outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], sizes: Sizes) -> dict[str, np.ndarray]:
    """Detections of one image: `boxes`, `scores` (class times centerness) and `class_ids`, best first.

    Args:
        outputs: `scores` (N, K) probabilities, `centerness` (N,) in [0, 1], `boxes` (N, 4) XYXY pixels of the input.
        settings: `score_threshold` of the probabilities alone, `nms_threshold` and `max_detections`.
        sizes: of the image.
    """
    rows, class_ids = np.nonzero(outputs["scores"] > settings["score_threshold"])
    scores = outputs["scores"][rows, class_ids] * outputs["centerness"][rows]
    boxes = clip_boxes(outputs["boxes"][rows], sizes.image)
    kept = suppress(boxes, scores, class_ids, settings["nms_threshold"], settings["max_detections"])
    return {
        "boxes": to_output_size(boxes[kept], sizes),
        "scores": scores[kept],
        "class_ids": class_ids[kept].astype(np.int64),
    }

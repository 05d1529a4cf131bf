"""What an exported model says about one image; numpy only."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Sizes(NamedTuple):
    """Sizes of an image on its way through an exported model, each (height, width).

    Attributes:
        padded: of the batch.
        image: of the image in it, without padding.
        output: of the results, those of the original image.
    """

    padded: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Result:
    """The results of one image of H x W pixels; what the model does not predict is None.

    Attributes:
        classes: of the model, in the order of the contiguous ids: dicts with id (of the data set), name, isthing.
        boxes: (N, 4) float32 XYXY pixels, best score first.
        scores: (N,) float32.
        class_ids: (N,) int64 contiguous ids.
        masks: (N, H, W) bool.
        panoptic_map: (H, W) int32 segment ids, 0 for none.
        segments: of the panoptic map: dicts with id, class_id (contiguous), isthing, score.
        semantic_map: (H, W) int32 contiguous ids.
        class_scores: (K,) float32 probabilities of a classifier.
    """

    classes: tuple[dict[str, Any], ...]
    boxes: np.ndarray | None = None
    scores: np.ndarray | None = None
    class_ids: np.ndarray | None = None
    masks: np.ndarray | None = None
    panoptic_map: np.ndarray | None = None
    segments: tuple[dict[str, Any], ...] = ()
    semantic_map: np.ndarray | None = None
    class_scores: np.ndarray | None = None

"""What an exported model says about one image; numpy only."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.result_documents import NamedObjects, Segment
from focalnet_d2.data.result_files import save_results


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
class Result(NamedObjects):
    """The results of one image of H x W pixels; what the model does not predict is None.

    Attributes:
        classes: of the model, in the order of the contiguous ids.
        size: (H, W).
        path: of the image's file; None where it has none.
        boxes: (N, 4) float32 XYXY pixels, best score first.
        scores: (N,) float32.
        class_ids: (N,) int64 contiguous ids.
        masks: (N, H, W) bool.
        panoptic_map: (H, W) int32 segment ids, 0 for none.
        segments: of the panoptic map.
        semantic_map: (H, W) int32 contiguous ids.
        class_scores: (K,) float32 probabilities of a classifier.
    """

    classes: ClassMap
    size: tuple[int, int]
    path: Path | None = None
    boxes: np.ndarray | None = None
    scores: np.ndarray | None = None
    class_ids: np.ndarray | None = None
    masks: np.ndarray | None = None
    panoptic_map: np.ndarray | None = None
    segments: tuple[Segment, ...] = ()
    semantic_map: np.ndarray | None = None
    class_scores: np.ndarray | None = None

    def save(self, folder: str | PathLike, name: str | None = None) -> list[Path]:
        """Write JSON and PNG files, each complete or not at all; returns their paths.

        `NAME.json` has objects and classes, `NAME.panoptic.json` and `NAME.panoptic.png` the panoptic map,
        `NAME.semantic.png` the ids of the data set of every pixel: what `Prediction.save` writes.

        Args:
            folder: is made.
            name: what the names begin with, by default the name of the image's file; may have folders.

        Raises:
            ValueError: no name for an image without a file.
        """
        return save_results(self, Path(folder), name)

"""What a model says about one image, in the classes and the pixels of its user."""

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from PIL import Image
from torch import Tensor

from focalnet_d2.data.annotations.ids import Id
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.result_documents import NamedObjects, Segment
from focalnet_d2.kernels.argmax import index_of_largest
from focalnet_d2.structures.packed_masks import PackedMasks

from . import prediction_files, prediction_formats
from .image_input import InputImage
from .prediction_picture import draw_prediction

_LISTED = 5  # classes in the line about a prediction
_NOTEBOOK = 1000  # pixels of the longer side of a picture in a notebook
ArrayOrNone = np.ndarray | Any  # to type checkers an array: a user knows what the model predicts


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(NamedObjects):
    """The results of one image of H x W pixels; what the model does not predict is None.

    Attributes:
        image: (H, W, 3) uint8 RGB, upright.
        classes: of the model, in the order of the contiguous ids.
        path: of the image's file; None where it has none.
        boxes: (N, 4) float32 XYXY pixels, best score first.
        scores: (N,) float32.
        class_ids: (N,) int64 contiguous ids.
        masks: N masks of (H, W) bool: an array (N, H, W), or `PackedMasks` where that would be large.
        panoptic_map: (H, W) int32 segment ids, 0 for none.
        segments: of the panoptic map.
        semantic_map: (H, W) int32 contiguous ids; int16 where it was put together from tiles.
        class_scores: (K,) float32 probabilities of a classifier.
        frame_index, time: of a frame of a video: its number from 0, and its time in seconds.
        track_ids: (N,) int64, equal for one object in several frames; -1 for none (see `ObjectTracker`).
    """

    image: np.ndarray
    classes: ClassMap
    path: Path | None = None
    boxes: ArrayOrNone = None
    scores: ArrayOrNone = None
    class_ids: ArrayOrNone = None
    masks: ArrayOrNone = None
    panoptic_map: ArrayOrNone = None
    segments: tuple[Segment, ...] = ()
    semantic_map: ArrayOrNone = None
    class_scores: ArrayOrNone = None
    frame_index: int | None = None
    time: float | None = None
    track_ids: ArrayOrNone = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]

    def __repr__(self) -> str:
        """One line: the image, its size, and how much of what there is, without the arrays."""
        height, width = self.size
        return f"Prediction({self.path or 'image in memory'}, {width}x{height}: {', '.join(self._contents())})"

    def _contents(self) -> list[str]:
        contents = []
        if self.boxes is not None:
            counts = Counter(self.names).most_common()
            listed = ", ".join(f"{count} {name}" for name, count in counts[:_LISTED])
            more = f", {len(counts) - _LISTED} more classes" if len(counts) > _LISTED else ""
            kind = "boxes" if self.masks is None else "masks"
            contents.append(f"{len(self.boxes)} {kind}{f' ({listed}{more})' if counts else ''}")
        if self.panoptic_map is not None:
            contents.append(f"panoptic map of {len(self.segments)} segments")
        if self.semantic_map is not None:
            contents.append(f"semantic map of {len(np.unique(self.semantic_map))} classes")
        if self.class_scores is not None:
            best = int(self.class_scores.argmax())
            contents.append(f"{self.classes.names[best]} {self.class_scores[best]:.2f}")
        return contents or ["nothing"]

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows: the picture, where supervision is installed; else it shows `repr`."""
        try:
            picture = Image.fromarray(self.plot())
        except ImportError:
            return None
        picture.thumbnail((_NOTEBOOK, _NOTEBOOK))
        file = io.BytesIO()
        picture.save(file, format="PNG")
        return file.getvalue()

    def to_coco(self, image_id: Id = 1) -> dict[str, Any]:
        """Objects as a document in COCO's format, with scores; see `prediction_formats.coco`."""
        return prediction_formats.coco(self, image_id)

    def to_panoptic(self, image_id: Id = 1) -> tuple[dict[str, Any], np.ndarray]:
        """COCO's panoptic document, and the (H, W) int32 map; see `prediction_formats.panoptic`."""
        return prediction_formats.panoptic(self, image_id)

    def to_labelme(self) -> dict[str, Any]:
        """Objects as the content of a file of labelme; see `prediction_formats.labelme`."""
        return prediction_formats.labelme(self)

    def to_yolo(self, *, confidence: bool = False) -> list[str]:
        """Lines of a label file of YOLO, perhaps with scores; see `prediction_formats.yolo`."""
        return prediction_formats.yolo(self, confidence=confidence)

    def to_supervision(self) -> Any:
        """Objects as `supervision.Detections`; see `prediction_formats.supervision`."""
        return prediction_formats.supervision(self)

    def plot(self, *, font: str | os.PathLike | None = None) -> np.ndarray:
        """A picture of the results, (h, w, 3) uint8 RGB; small images are enlarged so that labels can be read.

        Args:
            font: a font file for class names with letters that DejaVu Sans lacks, Chinese ones for example.

        Raises:
            ImportError: supervision is not installed; says what to type.
        """
        return draw_prediction(self, font)

    def save(self, folder: str | os.PathLike, name: str | None = None, *, picture: bool = False) -> list[Path]:
        """Write JSON and PNG files, each complete or not at all; returns their paths.

        `NAME.json` has objects and classes, `NAME.panoptic.json` and `NAME.panoptic.png` the panoptic map,
        `NAME.semantic.png` the ids of the data set of every pixel, `NAME.picture.png` what `plot` draws.

        Args:
            folder: is made.
            name: what the names begin with, by default the name of the image's file; may have folders.
            picture: also write the picture.

        Raises:
            ValueError: no name for an image without a file.
        """
        return prediction_files.save_prediction(self, Path(folder), name, picture=picture)


def read_result(
    result: Mapping[str, Any], image: InputImage, *, classes: ClassMap, threshold: float | Sequence[float] = 0.0
) -> Prediction:
    """The prediction of what a model returns for one image (`modeling/base.py` has the contract).

    Args:
        threshold: objects with a lower score are left out; one for all classes, or one for each.

    Raises:
        ValueError: scores or boxes that are NaN or infinite.
    """
    found: dict[str, Any] = {}
    if "instances" in result:
        found |= _objects(result["instances"], image.name, threshold)
    if "panoptic_seg" in result:
        ids, segments = result["panoptic_seg"]
        found["panoptic_map"] = ids.cpu().numpy().astype(np.int32)
        found["segments"] = tuple(
            Segment(int(one["id"]), int(one["category_id"]), bool(one["isthing"]), float(one.get("score", 1.0)))
            for one in segments
        )
    if "sem_seg" in result:
        scores = result["sem_seg"].detach()  # (K, H, W), or (H, W) classes already
        _check_finite("scores of pixels", scores, image.name)
        labels = index_of_largest(scores) if scores.ndim == 3 else scores
        found["semantic_map"] = labels.cpu().numpy().astype(np.int32)
    if "scores" in result:
        _check_finite("scores", result["scores"], image.name)
        found["class_scores"] = result["scores"].float().softmax(0).cpu().numpy()
    return Prediction(image.pixels, classes, image.path, **found)


def _objects(instances: Instances, name: str, threshold: float | Sequence[float]) -> dict[str, Any]:
    """Boxes, scores, classes and masks, best score first."""
    scores = instances.scores.float()
    _check_finite("scores", scores, name)
    _check_finite("boxes", instances.pred_boxes.tensor, name)
    order = kept_objects(instances, threshold)
    found = {
        "boxes": instances.pred_boxes.tensor[order].float().cpu().numpy(),
        "scores": scores[order].cpu().numpy(),
        "class_ids": instances.pred_classes[order].cpu().numpy().astype(np.int64),
    }
    if instances.has("pred_masks"):
        masks = instances.pred_masks[order]
        found["masks"] = masks.to("cpu") if isinstance(masks, PackedMasks) else masks.bool().cpu().numpy()
    return found


def kept_objects(instances: Instances, threshold: float | Sequence[float]) -> Tensor:
    """Places (N,) of the objects that are not left out, best score first; see `read_result`."""
    scores = instances.scores.float()
    order = scores.argsort(descending=True, stable=True)
    lowest = torch.as_tensor(threshold, dtype=scores.dtype, device=scores.device)  # one number, or (K,)
    return order[(scores >= (lowest[instances.pred_classes] if lowest.ndim else lowest))[order]]


def _check_finite(what: str, values: Tensor, name: str) -> None:
    if values.is_floating_point() and not torch.isfinite(values).all():
        raise ValueError(f"The model gives {what} that are NaN or infinite for the image {name}.")

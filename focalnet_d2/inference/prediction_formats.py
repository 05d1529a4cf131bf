"""Predictions in the formats of other tools, with the category ids and names of the data set."""

import base64
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from contourpy import contour_generator
from PIL import Image
from scipy.ndimage import find_objects

from focalnet_d2.data.annotations.ids import Id
from focalnet_d2.data.class_map import ClassEntry
from focalnet_d2.data.result_documents import coco_document, file_name, panoptic_document
from focalnet_d2.structures.cropped_masks import CroppedMask, crop_mask

from .supervision_library import load_supervision

if TYPE_CHECKING:  # prediction.py imports this module
    from .prediction import Prediction


def coco(prediction: "Prediction", image_id: Id = 1) -> dict[str, Any]:
    """Objects in COCO's format, see `coco_document`.

    Frames of a video have `frame_index` and `time` in seconds, objects that were tracked `track_id`.
    """
    tracks = prediction.track_ids
    details = None if tracks is None else lambda index: {"track_id": int(tracks[index])}
    return _in_time(prediction, coco_document(prediction, image_id, details=details))


def panoptic(prediction: "Prediction", image_id: Id = 1) -> tuple[dict[str, Any], np.ndarray]:
    """COCO's panoptic document, whose one annotation names the PNG `IMAGE.panoptic.png`, and the (H, W) int32 map.

    Raises:
        ValueError: the model predicts no panoptic map.
    """
    document = panoptic_document(prediction, image_id, extents=_extents(prediction))
    return _in_time(prediction, document), prediction.panoptic_map


def labelme(prediction: "Prediction") -> dict[str, Any]:
    """Objects as the content of a file of labelme: `mask` shapes, or rectangles where there are no masks."""
    height, width = prediction.size
    shapes = [
        {
            "label": _entry(prediction, int(prediction.class_ids[index])).name,
            "flags": {},
            "group_id": None,
            "description": f"score {float(prediction.scores[index]):.4f}",
            **_labelme_shape(prediction, index),
        }
        for index in range(_count(prediction))
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": file_name(prediction),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def yolo(prediction: "Prediction", *, confidence: bool = False) -> list[str]:
    """Lines of a label file of YOLO, in shares of width and height; classes count from 0, as in the class list.

    An object without a mask is `class x_center y_center width height`, one with a mask the outline of its largest part
    (`class x1 y1 x2 y2 ...`), since a line holds one polygon without holes. An empty mask has no line.

    Args:
        confidence: a line ends with the score, as those that YOLO's own tools save; labels to train on have none.
    """
    height, width = prediction.size
    lines = []
    for index in range(_count(prediction)):
        if prediction.masks is None:
            left, top, right, bottom = prediction.boxes[index].tolist()
            shape = np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]).reshape(-1, 2)
        else:
            shape = _outline(crop_mask(prediction.masks, index))
        if len(shape):
            numbers = np.clip(shape / (width, height), 0, 1).ravel().tolist()
            numbers += [float(prediction.scores[index])] if confidence else []
            lines.append(" ".join([str(int(prediction.class_ids[index])), *(f"{one:.6f}" for one in numbers)]))
    return lines


def supervision(prediction: "Prediction") -> Any:
    """`supervision.Detections` of the objects: boxes, masks, scores, contiguous ids; names as `class_name`.

    Raises:
        ImportError: supervision is not installed.
    """
    detections = load_supervision("to_supervision").Detections
    if prediction.boxes is None:
        return detections.empty()
    return detections(
        xyxy=prediction.boxes,
        mask=None if prediction.masks is None else np.asarray(prediction.masks),
        confidence=prediction.scores,
        class_id=prediction.class_ids,
        tracker_id=prediction.track_ids,
        data={"class_name": np.array(prediction.names), "category_id": np.array(prediction.category_ids)},
    )


def _count(prediction: "Prediction") -> int:
    return 0 if prediction.boxes is None else len(prediction.boxes)


def _entry(prediction: "Prediction", class_id: int) -> ClassEntry:
    return prediction.classes.classes[class_id]


def _in_time(prediction: "Prediction", document: dict[str, Any]) -> dict[str, Any]:
    """The document of a frame of a video says which, and when."""
    if prediction.time is not None:
        document["images"][0] |= {"frame_index": prediction.frame_index, "time": prediction.time}
    return document


def _extents(prediction: "Prediction") -> Iterator[dict[str, Any]]:
    """Area and XYWH box of every segment."""
    parts = find_objects(prediction.panoptic_map, max_label=max((one.id for one in prediction.segments), default=1))
    for one in prediction.segments:
        part = parts[one.id - 1]
        if part is None:
            yield {"area": 0, "bbox": [0, 0, 0, 0]}
            continue
        rows, columns = part
        area = np.count_nonzero(prediction.panoptic_map[part] == one.id)
        width, height = columns.stop - columns.start, rows.stop - rows.start
        yield {"area": area, "bbox": [columns.start, rows.start, width, height]}


def _labelme_shape(prediction: "Prediction", index: int) -> dict[str, Any]:
    if prediction.masks is None:
        left, top, right, bottom = map(float, prediction.boxes[index])
        return {"points": [[left, top], [right, bottom]], "shape_type": "rectangle", "mask": None}
    mask = crop_mask(prediction.masks, index)
    pixels = mask.pixels if mask.pixels.size else np.zeros((1, 1), bool)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {
        "points": [[mask.left, mask.top], [mask.left + pixels.shape[1] - 1, mask.top + pixels.shape[0] - 1]],
        "shape_type": "mask",
        "mask": base64.b64encode(file.getvalue()).decode("ascii"),
    }


def _outline(mask: CroppedMask) -> np.ndarray:
    """(P, 2) x, y in pixels of the image around the largest part of a mask; (0, 2) where it is empty."""
    if not (lines := contour_generator(z=np.pad(mask.pixels.astype(np.float64), 1)).lines(0.5)):
        return np.zeros((0, 2))
    points = (
        max(cast(list[np.ndarray], lines), key=_area)[:-1] - 0.5
    )  # the last point is the first; pixel centers lie at halves
    steps = np.diff(points, axis=0, append=points[:1])
    corners = points[(steps != np.roll(steps, 1, axis=0)).any(1)]  # without those on a straight line
    return np.add(corners, (mask.left, mask.top))


def _area(points: np.ndarray) -> float:
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2

"""What a model has found in an image, in COCO's formats, with the ids and names of the data set; numpy only."""

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from focalnet_d2.structures.cropped_masks import crop_mask
from focalnet_d2.utils.warnings_once import warn_once

from .annotations.ids import Id
from .class_map import ClassEntry, ClassMap
from .run_lengths import encode_mask


class Segment(NamedTuple):
    """One segment of a panoptic map: the value of its pixels, its contiguous class, whether it is a thing, and how sure
    the model is of it, where it says that."""

    id: int
    class_id: int
    is_thing: bool
    score: float = 1.0


class NamedObjects:
    """Base of the results of an image: what the data set calls its N objects."""

    classes: ClassMap
    class_ids: Any

    @property
    def category_ids(self) -> list[Id]:
        """Ids of the data set of the N objects."""
        return [self.classes.classes[index].dataset_id for index in self._objects()]

    @property
    def names(self) -> list[str]:
        """Class names of the N objects."""
        return [self.classes.names[index] for index in self._objects()]

    def _objects(self) -> list[int]:
        return [] if self.class_ids is None else self.class_ids.tolist()


class Results(Protocol):
    """The results of one image of H x W pixels; what the model does not predict is None.

    Attributes:
        boxes: (N, 4) XYXY pixels; scores, class_ids: (N,); masks: N of (H, W) bool.
        panoptic_map: (H, W) segment ids; semantic_map: (H, W) contiguous ids; class_scores: (K,).
    """

    @property
    def classes(self) -> ClassMap: ...

    @property
    def path(self) -> Path | None: ...

    @property
    def boxes(self) -> Any: ...

    @property
    def scores(self) -> Any: ...

    @property
    def class_ids(self) -> Any: ...

    @property
    def masks(self) -> Any: ...

    @property
    def panoptic_map(self) -> Any: ...

    @property
    def segments(self) -> Sequence[Segment]: ...

    @property
    def semantic_map(self) -> Any: ...

    @property
    def class_scores(self) -> Any: ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        ...


def coco_document(
    results: Results, image_id: Id = 1, *, details: Callable[[int], dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Objects in COCO's format: images, annotations with scores, categories.

    Boxes are x, y, width, height; masks are compressed run lengths as text. `annotations` is also a list of results
    that COCO's tools score. A classifier adds `class_scores`, the best first.

    Args:
        details: further entries of an object by its index.
    """
    count = 0 if results.boxes is None else len(results.boxes)
    annotations = [_coco_object(results, index, image_id) for index in range(count)]
    if details is not None:
        annotations = [annotation | details(index) for index, annotation in enumerate(annotations)]
    document = {
        "images": [_image(results, image_id)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
        "categories": [{"id": one.dataset_id, "name": one.name} for one in results.classes.classes],
    }
    return document | ({} if results.class_scores is None else {"class_scores": _class_scores(results)})


def panoptic_document(
    results: Results, image_id: Id = 1, *, extents: Iterable[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """COCO's panoptic document, whose one annotation names the PNG `IMAGE.panoptic.png`.

    Args:
        extents: area and box of each segment, where they are known.

    Raises:
        ValueError: the model predicts no panoptic map.
    """
    if results.panoptic_map is None:
        raise ValueError("There is no panoptic map: the model does not predict one.")
    if extents is None:
        extents = (extent(results.panoptic_map == one.id) for one in results.segments)
    annotation = {
        "image_id": image_id,
        "file_name": f"{file_name(results)}.panoptic.png",
        "segments_info": [
            {"id": one.id, "category_id": _entry(results, one.class_id).dataset_id, "iscrowd": 0} | covered
            for one, covered in zip(results.segments, extents, strict=True)
        ],
    }
    categories = [
        {"id": one.dataset_id, "name": one.name, "isthing": int(one.is_thing), "color": list(one.color)}
        for one in results.classes.classes
    ]
    return {"images": [_image(results, image_id)], "annotations": [annotation], "categories": categories}


def semantic_ids(results: Results) -> np.ndarray:
    """(H, W) ids of the data set, uint8 or uint16.

    Raises:
        ValueError: an id is no value of a pixel.
    """
    return pixel_ids(results.classes)[results.semantic_map]


def pixel_ids(classes: ClassMap) -> np.ndarray:
    """(K,) ids of the data set as uint8 or uint16.

    Raises:
        ValueError: one is no value of a pixel.
    """
    ids = [entry.dataset_id for entry in classes.classes]
    if wrong := [key for key in ids if not isinstance(key, int) or not 0 <= key < 2**16]:
        raise ValueError(f"The class id {wrong[0]!r} is no value of a pixel (0 to 65535): no semantic PNG can hold it.")
    return np.array(ids, np.uint8 if all(int(key) < 256 for key in ids) else np.uint16)


def has_pixel_ids(classes: ClassMap) -> bool:
    """Whether semantic PNGs can hold the ids of the data set; a warning says so where they cannot."""
    try:
        pixel_ids(classes)
    except ValueError as error:
        warn_once(logging.getLogger(__name__), "pixel ids", f"{error} None is written.")
        return False
    return True


def extent(mask: np.ndarray) -> dict[str, Any]:
    """Area and XYWH box of (H, W) bool."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return {"area": 0, "bbox": [0, 0, 0, 0]}
    left, top = int(columns[0]), int(rows[0])
    return {"area": int(mask.sum()), "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]}


def file_name(results: Results) -> str:
    """The name of the image's file; "image" where it has none."""
    return "image" if results.path is None else results.path.name


def _entry(results: Results, class_id: int) -> ClassEntry:
    return results.classes.classes[class_id]


def _image(results: Results, image_id: Id) -> dict[str, Any]:
    height, width = results.size
    return {"id": image_id, "file_name": file_name(results), "height": height, "width": width}


def _coco_object(results: Results, index: int, image_id: Id) -> dict[str, Any]:
    left, top, right, bottom = map(float, results.boxes[index])
    entry: dict[str, Any] = {
        "image_id": image_id,
        "category_id": _entry(results, int(results.class_ids[index])).dataset_id,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "score": float(results.scores[index]),
    }
    if results.masks is not None:
        mask = crop_mask(results.masks, index)
        entry["area"] = float(np.count_nonzero(mask.pixels))
        entry["segmentation"] = encode_mask(mask, results.size)
    return entry


def _class_scores(results: Results) -> list[dict[str, Any]]:
    order = np.argsort(-results.class_scores, kind="stable").tolist()
    entries = [(_entry(results, index), float(results.class_scores[index])) for index in order]
    return [{"category_id": one.dataset_id, "name": one.name, "score": score} for one, score in entries]

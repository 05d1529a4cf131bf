"""Annotations and results in COCO's file formats, as the scoring of boxes and masks takes them."""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.garbage_collection import paused_collection

SHAPE_KEYS = {"bbox": "bbox", "segm": "segmentation"}  # where COCO's formats keep what an IoU type compares

ImageId = int | str

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroundTruth:
    """Annotations of a COCO file, in the order of the file; the file's ids are replaced by numbers from 1.

    The numbers follow the order of the ids, in which the official tool goes through images and categories. They are
    needed because some tools take whole numbers only, and because pycocotools takes an annotation with the id 0 for
    "not matched" and mixes up annotations that share an id.

    Args:
        source: the file, for messages.
        image_ids, category_ids: ids in the order of their numbers.
        class_names: in the same order, each name once.
        images: dicts with `id` (the number) and, where the file has them, `height` and `width`.
        annotations: dicts as in the file, with numbers in `id`, `image_id` and `category_id`; None where the file has
            none (test-dev).
    """

    source: str
    image_ids: list[ImageId]
    category_ids: list[int]
    class_names: list[str]
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]] | None

    def restricted_to(self, image_ids: Collection[ImageId]) -> "GroundTruth":
        """The same with these images only; numbers stay as they are."""
        chosen = {number for number, key in enumerate(self.image_ids, 1) if key in image_ids}
        return replace(
            self,
            images=[image for image in self.images if image["id"] in chosen],
            annotations=[entry for entry in self.annotations or () if entry["image_id"] in chosen],
        )

    def as_coco(self, iou_type: str) -> dict[str, Any]:
        """A fresh data set in COCO's format with all that scoring needs.

        Raises:
            ValueError: an annotation or image lacks something.
        """
        keys = ("id", "image_id", "category_id", "area", SHAPE_KEYS[iou_type])
        annotations = [{key: entry.get(key) for key in keys} for entry in self.annotations or ()]
        for copied, entry in zip(annotations, self.annotations or ()):
            if None in copied.values():
                image, key = self.image_ids[entry["image_id"] - 1], next(key for key in keys if copied[key] is None)
                raise ValueError(
                    f"{self.source}: an annotation of image {image!r} has no {key}, as {iou_type} AP needs."
                )
            copied["iscrowd"] = int(entry.get("iscrowd", 0))
        if iou_type == "segm" and any("height" not in image or "width" not in image for image in self.images):
            raise ValueError(f"{self.source} has images without height or width: add them to score masks.")
        categories = [{"id": number, "name": name} for number, name in enumerate(self.class_names, 1)]
        return {"images": [dict(image) for image in self.images], "annotations": annotations, "categories": categories}


@dataclass(frozen=True)
class Detections:
    """Predicted objects of a data set as columns, in the order in which each image lists them.

    Args:
        images, categories: (N,) numbers of a `GroundTruth`.
        scores: (N,) confidences.
        boxes: (N, 4) XYWH pixels; None where only masks are scored.
        masks: N compressed RLE dicts; None where only boxes are scored.
    """

    images: np.ndarray
    categories: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    masks: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: np.ndarray) -> "Detections":
        """Those where `chosen` (N,) is True."""
        masks = None if self.masks is None else [self.masks[index] for index in np.flatnonzero(chosen)]
        boxes = None if self.boxes is None else self.boxes[chosen]
        return Detections(self.images[chosen], self.categories[chosen], self.scores[chosen], boxes, masks)

    def as_results(self, iou_type: str) -> list[dict[str, Any]]:
        """Fresh dicts in COCO's format with either boxes or masks: with both, tools take sizes of objects from the
        box."""
        shapes = self.boxes.tolist() if iou_type == "bbox" else self.masks
        columns = (self.images.tolist(), self.categories.tolist(), self.scores.tolist(), shapes)
        key = SHAPE_KEYS[iou_type]
        return [{"image_id": i, "category_id": c, "score": s, key: shape} for i, c, s, shape in zip(*columns)]


@paused_collection()
def read_ground_truth(path: str | Path) -> GroundTruth:
    """Reads the annotation file of a data set.

    As with the official tool, annotations of images or categories that the file does not list do not count.

    Raises:
        ValueError: not a COCO annotation file.
    """
    content = _read_json(path)
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}: it is not a COCO annotation file.")
    images = {image["id"]: image for image in content["images"]}
    categories = {category["id"]: category for category in content["categories"]}
    image_ids, category_ids = sorted(images), sorted(categories)
    numbers = {key: number for number, key in enumerate(image_ids, 1)}
    annotations = None
    if "annotations" in content:
        category_numbers = {key: number for number, key in enumerate(category_ids, 1)}
        annotations = [
            entry | {"id": number, "image_id": numbers[image], "category_id": category_numbers[category]}
            for number, entry in enumerate(content["annotations"], 1)
            if (image := entry["image_id"]) in numbers and (category := entry["category_id"]) in category_numbers
        ]
    return GroundTruth(
        source=str(path),
        image_ids=image_ids,
        category_ids=category_ids,
        class_names=_distinct([(categories[key].get("name", str(key)), key) for key in category_ids]),
        images=[
            {"id": numbers[key]} | {side: images[key][side] for side in ("height", "width") if side in images[key]}
            for key in image_ids
        ],
        annotations=annotations,
    )


@paused_collection()
def read_results(path: str | Path, truth: GroundTruth, iou_type: str) -> Detections:
    """Reads a file of detections; those of categories that the annotations lack do not count, as officially.

    Raises:
        ValueError: not a COCO result file, not for these annotations, or without boxes or masks.
    """
    results = _read_json(path)
    needed = {"image_id", "category_id", "score", SHAPE_KEYS[iou_type]}
    if not isinstance(results, list):
        raise ValueError(f"{path} is not a list of detections in COCO's result format.")
    for index, result in enumerate(results):
        if not isinstance(result, dict) or not needed <= result.keys():
            raise ValueError(f"Entry {index} of {path} lacks one of {sorted(needed)}, which {iou_type} AP needs.")
    numbers = {image: number for number, image in enumerate(truth.image_ids, 1)}
    if strange := {result["image_id"] for result in results} - numbers.keys():
        raise ValueError(f"{path} has detections for image {min(strange)!r}, which {truth.source} does not list.")
    categories = {category: number for number, category in enumerate(truth.category_ids, 1)}
    known = [result for result in results if result["category_id"] in categories]
    if len(known) < len(results):
        logger.warning("%d detections are of categories that %s lacks.", len(results) - len(known), truth.source)
    shapes = [result[SHAPE_KEYS[iou_type]] for result in known]
    detections = Detections(
        images=np.array([numbers[result["image_id"]] for result in known], dtype=np.int64),
        categories=np.array([categories[result["category_id"]] for result in known], dtype=np.int64),
        scores=np.array([result["score"] for result in known], dtype=np.float64),
        boxes=np.array(shapes, dtype=np.float64).reshape(-1, 4) if iou_type == "bbox" else None,
        masks=shapes if iou_type == "segm" else None,
    )
    check_detections(detections, truth)
    return detections


def check_detections(detections: Detections, truth: GroundTruth) -> None:
    """Refuses what the tools would score without a word and wrongly.

    Raises:
        ValueError: scores or boxes that are not finite (a box of nan matches everything), masks that are not
            compressed RLE or not of the size of their image.
    """
    bad = ~np.isfinite(detections.scores)
    if detections.boxes is not None:
        bad |= ~np.isfinite(detections.boxes).all(axis=1)
    if bad.any():
        image = truth.image_ids[detections.images[bad.argmax()] - 1]
        raise ValueError(
            f"{bad.sum()} detections have a score or box that is not finite, the first in image {image!r}."
        )
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in truth.images}
    for number, mask in zip(detections.images.tolist(), detections.masks or ()):
        if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str | bytes):
            raise ValueError(f"A mask of image {truth.image_ids[number - 1]!r} is not compressed RLE, as results need.")
        if None not in sizes[number] and tuple(mask["size"]) != sizes[number]:
            raise ValueError(
                f"A mask of image {truth.image_ids[number - 1]!r} has height and width {tuple(mask['size'])}, but "
                f"{truth.source} says {sizes[number]}: bring masks to the size of the image file."
            )


def write_json(path: str | Path, content: Any, **options: Any) -> None:
    """Writes a JSON file (with options of `json.dumps`) that appears complete or not at all; makes the folder."""
    write_atomically(path, json.dumps(content, **options))


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def _distinct(names: Sequence[tuple[str, int]]) -> list[str]:
    """Names of categories; one that several share is followed by the id."""
    all_names = [name for name, _ in names]
    return [name if all_names.count(name) == 1 else f"{name} ({key})" for name, key in names]

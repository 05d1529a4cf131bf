"""Annotations and results in COCO's file formats, as the scoring of boxes and masks takes them."""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations.boxes import NO_AREA, as_numbers
from focalnet_d2.data.annotations.ids import unlisted
from focalnet_d2.data.annotations.instances import CocoInstances, read_instances
from focalnet_d2.data.annotations.json_file import read_json
from focalnet_d2.data.annotations.masks import compressed, find_unusable_masks, is_mask_size
from focalnet_d2.data.annotations.oddities import Oddities
from focalnet_d2.data.annotations.run_lengths import fill_exactly
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

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
    category_ids: Sequence[ImageId]
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

    def objects(self, iou_type: str) -> list[dict[str, Any]]:
        """The annotations that this kind of AP counts; boxes without a pixel of their image cannot be found."""
        annotations = self.annotations or []
        return annotations if iou_type == "segm" else [entry for entry in annotations if NO_AREA not in entry]

    def require(self, iou_type: str) -> None:
        """Says before anything is predicted whether this kind of AP can be computed.

        Raises:
            ValueError: nothing but crowds, an annotation without a mask that can be used, or images without a size.
        """
        if self.annotations and all(entry.get("iscrowd", 0) for entry in self.objects(iou_type)):
            raise ValueError(f"{self.source} has no object whose box has a pixel of its image: correct the boxes.")
        if iou_type == "segm":
            self._check_masks()

    def _check_masks(self) -> None:
        """Leaves out parts of polygons that are none."""
        annotations = self.annotations or []
        problems = find_unusable_masks(annotations, self._sizes())
        for index, problem in problems.items():
            image = self.image_ids[annotations[index]["image_id"] - 1]
            raise ValueError(
                f"{self.source}: {len(problems)} annotations have no mask that can be used, as segm AP needs; the "
                f"first one, of image {image!r}, {problem}: correct them, or score boxes."
            )

    def _sizes(self) -> dict[int, tuple[int, int]]:
        """Height and width of each image by its number."""
        if any("height" not in image or "width" not in image for image in self.images):
            raise ValueError(f"{self.source} has images without height or width: add them to score masks.")
        return {image["id"]: (image["height"], image["width"]) for image in self.images}

    def as_coco(self, iou_type: str) -> dict[str, Any]:
        """A fresh data set in COCO's format with all that scoring needs.

        Raises:
            ValueError: an annotation without a mask that can be used, or images without a size.
        """
        if iou_type == "segm":
            self._check_masks()
        objects = self.objects(iou_type)
        keys = ("id", "image_id", "category_id", SHAPE_KEYS[iou_type])
        annotations = [{key: entry[key] for key in keys} for entry in objects]
        for copied, entry in zip(annotations, objects):
            copied["iscrowd"] = int(entry.get("iscrowd", 0))
            copied["area"] = entry.get("area")
            if copied["area"] is None:
                copied["area"] = _mask_area(copied, self._sizes()) if iou_type == "segm" else _box_area(copied)
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

    def __getitem__(self, chosen: np.ndarray | slice) -> "Detections":
        """A stretch of them, or those where `chosen` (N,) is True."""
        masks = self.masks
        if masks is not None:
            masks = masks[chosen] if isinstance(chosen, slice) else [masks[i] for i in np.flatnonzero(chosen)]
        boxes = None if self.boxes is None else self.boxes[chosen]
        return Detections(self.images[chosen], self.categories[chosen], self.scores[chosen], boxes, masks)

    def as_results(self, iou_type: str) -> list[dict[str, Any]]:
        """Fresh dicts in COCO's format with either boxes or masks: with both, tools take sizes of objects from the
        box."""
        shapes = self.boxes.tolist() if iou_type == "bbox" and self.boxes is not None else self.masks or []
        columns = (self.images.tolist(), self.categories.tolist(), self.scores.tolist(), shapes)
        key = SHAPE_KEYS[iou_type]
        return [{"image_id": i, "category_id": c, "score": s, key: shape} for i, c, s, shape in zip(*columns)]


def _box_area(annotation: dict[str, Any]) -> float:
    return annotation["bbox"][2] * annotation["bbox"][3]


def _mask_area(annotation: dict[str, Any], sizes: dict[int, tuple[int, int]]) -> float:
    """Pixels of a mask."""
    encoded = compressed(annotation["segmentation"], sizes[annotation["image_id"]])
    merged = mask_codec.merge(encoded) if isinstance(encoded, list) else encoded
    return float(mask_codec.area(merged))


@paused_collection()
def read_ground_truth(path: str | Path) -> GroundTruth:
    """Reads the annotation file of a data set by the rules of `read_instances`, which training follows, too.

    Raises:
        FileNotFoundError, ValueError: as `read_instances`.
    """
    return ground_truth_of(read_instances(path))


def ground_truth_of(content: CocoInstances) -> GroundTruth:
    """The same of content that has been read; its annotations get other ids, so it belongs to the ground truth."""
    image_ids, category_ids = [image["id"] for image in content.images], list(content.class_names)
    numbers = {key: number for number, key in enumerate(image_ids, 1)}
    category_numbers = {key: number for number, key in enumerate(category_ids, 1)}
    for number, entry in enumerate(content.annotations or (), 1):  # nobody else has them
        entry["id"] = number
        entry["image_id"] = numbers[entry["image_id"]]
        entry["category_id"] = category_numbers[entry["category_id"]]
    return GroundTruth(
        source=content.source,
        image_ids=image_ids,
        category_ids=category_ids,
        class_names=_distinct([(name, key) for key, name in content.class_names.items()]),
        images=[
            {"id": numbers[image["id"]]} | {side: image[side] for side in ("height", "width") if side in image}
            for image in content.images
        ],
        annotations=content.annotations,
    )


def read_results(path: str | Path, truth: GroundTruth, iou_type: str) -> Detections:
    """Reads a file of detections for one kind of AP; see `read_results_of`."""
    return read_results_of(path, truth, (iou_type,))[iou_type]


@paused_collection()
def read_results_of(path: str | Path, truth: GroundTruth, iou_types: Sequence[str]) -> dict[str, Detections]:
    """Reads a file of detections once, for every kind of AP.

    Detections of categories that the annotations lack do not count, as officially.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a COCO result file, not for these annotations, or without boxes or masks.
    """
    results = _known_results(path, truth, iou_types)
    return {iou_type: _detections(results, path, truth, iou_type) for iou_type in iou_types}


def _known_results(path: str | Path, truth: GroundTruth, iou_types: Sequence[str]) -> list[dict[str, Any]]:
    """Entries with all that is needed, without those of categories that the annotations lack."""
    results = read_json(path)
    needed = ("image_id", "category_id", "score", *(SHAPE_KEYS[iou_type] for iou_type in iou_types))
    if not isinstance(results, list):
        raise ValueError(f"{path} is not a list of detections in COCO's result format.")
    for index, result in enumerate(results):
        if not isinstance(result, dict) or any(key not in result for key in needed):
            raise ValueError(
                f"Entry {index} of {path} lacks one of {sorted(needed)}, which AP of {' and '.join(iou_types)} needs."
            )
    image_ids, category_ids = ([result[key] for result in results] for key in ("image_id", "category_id"))
    if strange := unlisted(image_ids, truth.image_ids, f"{path}: image_id", f"{truth.source}: images"):
        raise ValueError(f"{path} has detections for image {min(strange)!r}, which {truth.source} does not list.")
    unknown = unlisted(category_ids, truth.category_ids, f"{path}: category_id", f"{truth.source}: categories")
    if not unknown:
        return results
    known = [result for result in results if result["category_id"] not in unknown]
    oddities = Oddities(str(path))
    ids = some_of(map(repr, sorted(unknown)), 10)
    what = f"detections are of categories that {truth.source} lacks, and do not count (category_id {ids})"
    oddities.add(what, len(results) - len(known))
    oddities.log(logger)
    return known


def _detections(known: list[dict[str, Any]], path: str | Path, truth: GroundTruth, iou_type: str) -> Detections:
    numbers = {image: number for number, image in enumerate(truth.image_ids, 1)}
    categories = {category: number for number, category in enumerate(truth.category_ids, 1)}
    shapes = [result[SHAPE_KEYS[iou_type]] for result in known]
    detections = Detections(
        images=np.array([numbers[result["image_id"]] for result in known], dtype=np.int64),
        categories=np.array([categories[result["category_id"]] for result in known], dtype=np.int64),
        scores=_numbers([result["score"] for result in known], (), path, "score"),
        boxes=_numbers(shapes, (4,), path, "box of four numbers") if iou_type == "bbox" else None,
        masks=shapes if iou_type == "segm" else None,
    )
    check_detections(detections, truth, str(path))
    return detections


def _numbers(values: list[Any], shape: tuple[int, ...], path: str | Path, what: str) -> np.ndarray:
    """(N, *shape) numbers, which may be nan."""
    array = as_numbers(values, (len(values), *shape))
    if array is None:
        odd = next(value for value in values if as_numbers([value], (1, *shape)) is None)
        raise ValueError(f"{path} has an entry whose {what} is none: {odd!r}.")
    return array


_NEGATIVE = "a negative width or height, where COCO's boxes are x, y, width and height"


def check_detections(detections: Detections, truth: GroundTruth, source: str = "The predictions") -> None:
    """Refuses what the tools would score without a word and wrongly.

    Args:
        source: where the detections come from, for messages.

    Raises:
        ValueError: scores or boxes that are not finite (a box of nan matches everything), boxes with negative sides,
            masks that are not compressed RLE, not of the size of their image, or damaged.
    """
    boxes = np.zeros((len(detections), 4)) if detections.boxes is None else detections.boxes
    not_finite = ~np.isfinite(detections.scores) | ~np.isfinite(boxes).all(axis=1)
    for bad, what in ((not_finite, "a score or box that is not finite"), ((boxes[:, 2:] < 0).any(axis=1), _NEGATIVE)):
        if bad.any():
            image = truth.image_ids[detections.images[bad.argmax()] - 1]
            raise ValueError(f"{source}: {bad.sum()} detections have {what}, the first in image {image!r}.")
    if detections.masks:
        _check_predicted_masks(detections.images.tolist(), detections.masks, truth, source)


def _check_predicted_masks(images: list[int], masks: list[Any], truth: GroundTruth, source: str) -> None:
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in truth.images}
    for number, mask in zip(images, masks):
        who = f"{source}: a mask of image {truth.image_ids[number - 1]!r}"
        if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str | bytes):
            raise ValueError(f"{who} is not compressed RLE, as results need.")
        if not is_mask_size(mask.get("size")):
            raise ValueError(f"{who} has the size {mask.get('size')!r}, not height and width.")
        if None not in sizes[number] and tuple(mask["size"]) != sizes[number]:
            raise ValueError(
                f"{who} has height and width {tuple(mask['size'])}, but {truth.source} says {sizes[number]}: bring "
                f"masks to the size of the image file."
            )
    fits = fill_exactly([mask["counts"] for mask in masks], [mask["size"][0] * mask["size"][1] for mask in masks])
    if not fits.all():
        image = truth.image_ids[images[int(fits.argmin())] - 1]
        raise ValueError(
            f"{source}: {(~fits).sum()} masks have run lengths that are damaged or do not fill their image, the first "
            f"in image {image!r}."
        )


def write_json(path: str | Path, content: Any, **options: Any) -> None:
    """Writes a JSON file (with options of `json.dumps`) that appears complete or not at all; makes the folder."""
    write_atomically(path, json.dumps(content, **options))


def _distinct(names: Sequence[tuple[str, ImageId]]) -> list[str]:
    """Names of categories; one that several share is followed by the id."""
    all_names = [name for name, _ in names]
    return [name if all_names.count(name) == 1 else f"{name} ({key})" for name, key in names]

"""Boxes and masks: what takes a look at pixels, or at all objects together, beyond the rules of reading.

Boxes that are none, flags, ids and areas that are no numbers, and boxes outside of the image are found in reading
(`annotations/instances.py`).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..annotations.boxes import NO_AREA
from ..annotations.faults import Fault
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.masks import find_unusable_masks
from .missing_masks import MissingMasks
from .objects import fault, too_many, too_small
from .shapes import area_fits_box, area_fits_mask, boxes_agree, is_area_of_box, mask_shape, repeated_objects
from .stored_instances import StoredInstances
from .tasks import LabelFindings, LabelTask, RecipeLimits


def check_instances_of_image(task: LabelTask) -> LabelFindings:
    """The objects of one image."""
    annotations = [dict(entry) for entry in task.labels]  # checking masks replaces some
    counts = Counter(("class", entry["category_id"]) for entry in annotations)
    faults = [*_repeated(task, annotations), *too_many(task, annotations), *too_small(task, _sides(annotations))]
    if size := _size_for_masks(task):
        faults += _check_masks(task, annotations, size)
    else:
        faults += _check_box_areas(task, annotations)
    return LabelFindings(faults, counts)


def _size_for_masks(task: LabelTask) -> tuple[int, int] | None:
    """Height and width that masks are drawn in: what the file says, else what the image has."""
    if "height" in task.image and "width" in task.image:
        return task.image["height"], task.image["width"]
    return task.size


def _sides(annotations: Sequence[Entry]) -> list[tuple[Entry, float]]:
    """Objects with pixels, and the shorter side of each one's box."""
    return [(entry, min(entry["bbox"][2:])) for entry in annotations if NO_AREA not in entry]


def _repeated(task: LabelTask, annotations: Sequence[Entry]) -> Iterator[Fault]:
    if again := repeated_objects(annotations):
        what = "is there twice, with the same class, box and mask: remove the copy"
        yield fault(task, "repeated-object", "warning", what, again)


def _check_masks(task: LabelTask, annotations: list[Entry], size: tuple[int, int]) -> list[Fault]:
    short = [entry for entry in annotations if _has_short_polygon(entry.get("segmentation"))]
    unusable = find_unusable_masks(annotations, {task.image_id: size})
    faults = []
    for index, problem in unusable.items():
        if problem.kind != "mask-missing":  # which `check_instances_of_part` looks at
            faults.append(fault(task, problem.kind, "error", f"{problem}: correct or remove it", [annotations[index]]))
    usable = [entry for index, entry in enumerate(annotations) if index not in unusable]
    if short := [entry for entry in usable if any(entry is one for one in short)]:
        what = "has a polygon of fewer than three corners beside others, which is left out: remove it"
        faults.append(fault(task, "polygon-too-few-points", "warning", what, short))
    for entry in usable:
        faults += _check_mask(task, entry, size)
    without_mask = [annotations[index] for index, problem in unusable.items() if problem.kind == "mask-missing"]
    return [*faults, *_check_box_areas(task, without_mask)]


def _has_short_polygon(mask: Any) -> bool:
    return isinstance(mask, list) and any(isinstance(polygon, list) and len(polygon) < 6 for polygon in mask)


def _check_mask(task: LabelTask, entry: Entry, size: tuple[int, int]) -> Iterator[Fault]:
    """A usable mask, its polygons, its box and its area."""
    shape = mask_shape(entry["segmentation"], size)
    if not shape.pixels:
        what = "has a mask without a pixel of the image: remove the object"
        yield fault(task, "mask-empty", "warning", what, [entry])
        return
    if shape.is_unclear:
        what = "has a polygon that crosses itself, so that nobody can tell its inside: draw it anew"
        yield fault(task, "polygon-self-crossing", "warning", what, [entry])
    if not area_fits_mask(entry, shape):
        yield _wrong_area(task, entry, shape.pixels)
    if NO_AREA not in entry and not boxes_agree(entry["bbox"], shape.box, size):
        box = [round(number, 1) for number in shape.box or ()]
        what = f"has the box {entry['bbox']}, but its mask has {box}: take the box around the mask"
        yield fault(task, "mask-box-disagree", "warning", what, [entry])


def _wrong_area(task: LabelTask, entry: Entry, pixels: int) -> Fault:
    if is_area_of_box(entry):
        what = "has the area of its box, though it has a mask; scores by size use it"
        return fault(task, "area-of-box", "note", what, [entry])
    what = f"has the area {entry['area']}, but its mask has {pixels} pixels: take that"
    return fault(task, "area-wrong", "warning", what, [entry])


def _check_box_areas(task: LabelTask, annotations: Sequence[Entry]) -> Iterator[Fault]:
    """Areas of objects without a mask."""
    for entry in annotations:
        if not area_fits_box(entry):
            pixels = entry["bbox"][2] * entry["bbox"][3]
            what = f"has the area {entry['area']}, but its box has {pixels:.0f} pixels: correct it, or leave it out"
            yield fault(task, "area-wrong", "warning", what, [entry])


def check_instances_of_part(content: CocoInstances | StoredInstances, limits: RecipeLimits) -> list[Fault]:
    """All objects of a part together."""
    if isinstance(content, StoredInstances):
        masks = content.masks
    else:
        masks = MissingMasks()
        masks.add(content.annotations or [])
    return list(masks.faults(content.source, needed=limits.masks))

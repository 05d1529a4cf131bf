"""Boxes and masks: what takes a look at pixels, or at all objects together, beyond the rules of reading.

Boxes that are none, flags, ids and areas that are no numbers, and boxes outside of the image are found in reading
(`annotations/instances.py`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from focalnet_d2.utils.text import some_of

from ..annotations.boxes import NO_AREA, TOLERANCE
from ..annotations.faults import Fault
from ..annotations.findings import shown_ids
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.masks import compressed, find_unusable_masks, mask_box
from .contract import LabelFindings, LabelTask
from .objects import fault, too_many, too_small
from .polygons import crosses_itself, perimeter, shoelace_area

AREA_SHARE = 0.1  # of a mask by which ways to count it may differ, beside a pixel along its border
BOX_SHARE = 0.1  # of the side of a box by which it may differ from its mask, at least `BOX_PIXELS`
BOX_PIXELS = 3.0
_FEW = 0.02  # of all boxes, that a tool's errors explain
_MANY = 0.1  # of all boxes, that no error explains


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
    """Objects that are there twice, with everything but the id."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in annotations:
        groups.setdefault((entry["category_id"], *entry["bbox"]), []).append(entry)
    again = [
        entry
        for group in groups.values()
        for place, entry in enumerate(group)
        if any(entry.get("segmentation") == before.get("segmentation") for before in group[:place])
    ]
    if again:
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
    return faults + _check_box_areas(task, without_mask)


def _has_short_polygon(mask: Any) -> bool:
    return isinstance(mask, list) and any(isinstance(polygon, list) and len(polygon) < 6 for polygon in mask)


def _check_mask(task: LabelTask, entry: Entry, size: tuple[int, int]) -> Iterator[Fault]:
    """A usable mask, its polygons, its box and its area."""
    mask = entry["segmentation"]
    encoded = compressed(mask, size)
    parts = encoded if isinstance(encoded, list) else [encoded]
    pixels = float(mask_codec.area(mask_codec.merge(parts) if len(parts) > 1 else parts[0]))
    if pixels == 0:
        yield fault(
            task, "mask-empty", "warning", "has a mask without a pixel of the image: remove the object", [entry]
        )
        return
    polygons = [np.reshape(polygon, (-1, 2)) for polygon in mask] if isinstance(mask, list) else []
    drawn = mask_codec.area(parts).tolist()
    if any(_is_unclear(polygon, area) for polygon, area in zip(polygons, drawn)):
        what = "has a polygon that crosses itself, so that nobody can tell its inside: draw it anew"
        yield fault(task, "polygon-self-crossing", "warning", what, [entry])
    border = sum(map(perimeter, polygons))
    yield from _check_area(task, entry, pixels, border)
    if NO_AREA not in entry and not _boxes_agree(entry["bbox"], mask_box(mask), size):
        box = [round(number, 1) for number in mask_box(mask) or ()]
        what = f"has the box {entry['bbox']}, but its mask has {box}: take the box around the mask"
        yield fault(task, "mask-box-disagree", "warning", what, [entry])


def _is_unclear(polygon: np.ndarray, pixels: float) -> bool:
    """Whether a polygon crosses itself and its areas by its corners and by its pixels have little in common."""
    differ = abs(shoelace_area(polygon) - pixels)
    return differ > AREA_SHARE * pixels + perimeter(polygon) / 2 + 2 and crosses_itself(polygon)


def _check_area(task: LabelTask, entry: Entry, pixels: float, border: float) -> Iterator[Fault]:
    """Whether the area is that of the mask, counted in pixels or by corners; many tools write that of the box.

    Those of crowds, which nothing is scored by, are other ones in COCO itself.
    """
    area = entry.get("area")
    if area is None or entry.get("iscrowd") or abs(area - pixels) <= AREA_SHARE * pixels + border + 1:
        return
    _, _, width, height = entry["bbox"]
    if abs(area - width * height) <= 0.01 * width * height + 1:
        what = "has the area of its box, though it has a mask; scores by size use it"
        yield fault(task, "area-of-box", "note", what, [entry])
        return
    what = f"has the area {area}, but its mask has {pixels:.0f} pixels: take that"
    yield fault(task, "area-wrong", "warning", what, [entry])


def _check_box_areas(task: LabelTask, annotations: Sequence[Entry]) -> list[Fault]:
    """Areas of objects without a mask: at most that of the box, and no small part of it, as an object would have."""
    faults = []
    for entry in annotations:
        area, (width, height) = entry.get("area"), entry["bbox"][2:]
        most = (max(width, 0) + 1) * (max(height, 0) + 1)  # some tools count the last pixel
        if area is not None and NO_AREA not in entry and not 0.1 * width * height <= area <= 1.01 * most:
            what = f"has the area {area}, but its box has {width * height:.0f} pixels: correct it, or leave it out"
            faults.append(fault(task, "area-wrong", "warning", what, [entry]))
    return faults


def _boxes_agree(box: Sequence[float], other: Sequence[float] | None, size: tuple[int, int]) -> bool:
    """Whether two XYWH boxes have the same sides within the image, but for what tools round."""
    if other is None:
        return True
    first, second = (_corners(one, size) for one in (box, other))
    sides = np.maximum(first[2:] - first[:2], second[2:] - second[:2])
    allowed = np.maximum(BOX_PIXELS, BOX_SHARE * np.tile(sides, 2))
    return bool((np.abs(first - second) <= allowed).all())


def _corners(box: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """(4,) left, top, right and bottom of a XYWH box, cut off at the border of the image."""
    x, y, width, height = box
    limits = np.array([size[1], size[0], size[1], size[0]], dtype=np.float64)
    return np.clip(np.array([x, y, x + width, y + height], dtype=np.float64), 0, limits)


def check_instances_of_part(content: CocoInstances) -> list[Fault]:
    """All objects of a part together."""
    annotations = content.annotations or []
    return [*_same_names(content), *_some_masks_missing(content.source, annotations), *_corner_boxes(content)]


def _same_names(content: CocoInstances) -> Iterator[Fault]:
    """Categories of one name: nobody can tell them apart."""
    counts = Counter(content.class_names.values())
    ids = [key for key, name in content.class_names.items() if counts[name] > 1]
    if ids:
        names = some_of(map(repr, (name for name, count in counts.items() if count > 1)), 10)
        message = f"{content.source}: categories with the same name: {names}; each needs its own."
        yield Fault("duplicate-category-name", "error", content.source, message, shown_ids(ids), len(ids))


def _some_masks_missing(source: str, annotations: Sequence[Entry]) -> Iterator[Fault]:
    """A file with masks for some objects and none for others; a file of boxes has none at all."""
    lacking = [entry for entry in annotations if not entry.get("segmentation")]
    if lacking and len(lacking) < len(annotations):
        message = (
            f"{source}: {len(lacking)} of {len(annotations)} objects have no mask, the first one with the id "
            f"{lacking[0].get('id')!r}: models with masks do not learn them, and mask AP refuses the file; draw them."
        )
        yield Fault("mask-missing", "warning", source, message, shown_ids(lacking), len(lacking))


def _corner_boxes(content: CocoInstances) -> Iterator[Fault]:
    """Boxes that must be left, top, right and bottom: many fit into their images only so, and hardly one only as it
    should be."""
    suspects = corner_boxes(content.images, content.annotations or [])
    if suspects:
        message = (
            f"{content.source}: {len(suspects)} of {len(content.annotations or [])} boxes fit into their images only "
            "as left, top, right and bottom, but COCO's boxes are x, y, width and height: convert all of them."
        )
        yield Fault("boxes-of-corners", "error", content.source, message, shown_ids(suspects), len(suspects))


def corner_boxes(images: Sequence[Entry], annotations: Sequence[Entry]) -> list[Entry]:
    """Annotations whose boxes show that those of the file are XYXY; none where they are XYWH.

    Args:
        annotations: with boxes of four finite numbers.
    """
    sizes: Mapping[Any, Any] = {image["id"]: (image.get("width"), image.get("height")) for image in images}
    known = [entry for entry in annotations if None not in sizes[entry["image_id"]]]
    if not known:
        return []
    limits = np.array([sizes[entry["image_id"]] for entry in known]) + TOLERANCE  # (N, 2)
    boxes = np.array([entry["bbox"] for entry in known], dtype=np.float64)  # (N, 4)
    start, end = boxes[:, :2], boxes[:, 2:]
    as_sides = ((start + end <= limits) & (end > 0)).all(axis=1)
    as_corners = ((end <= limits) & (end > start)).all(axis=1)
    only_corners = np.flatnonzero(as_corners & ~as_sides)
    only_sides = (as_sides & ~as_corners).sum()
    if len(only_corners) < max(2, _MANY * len(known)) or only_sides > _FEW * len(known):
        return []
    return [known[index] for index in only_corners.tolist()]

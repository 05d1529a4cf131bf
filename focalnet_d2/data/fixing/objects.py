"""Boxes, masks, areas and ids of a mended copy, by the rules of the checks that find what is wrong with them."""

from collections.abc import Sequence
from typing import Any

from ..annotations.box_forms import CORNERS, BoxForms, boxes_and_sizes, in_pixels
from ..annotations.boxes import NO_AREA
from ..annotations.ids import Id
from ..annotations.json_file import Entry
from ..annotations.masks import Size, find_unusable_masks
from ..checks.shapes import area_fits_box, area_fits_mask, box_within, boxes_agree, mask_shape, repeated_objects
from .changes import Changes


def mend_objects(
    annotations: Sequence[Entry],
    images: Sequence[Entry],
    source: str,
    changes: Changes,
    reasons: dict[int, str],
    *,
    is_converted: bool,
) -> list[Entry]:
    """Mends annotations in place.

    Args:
        annotations: what reading has left of those of the images.
        images: with their true sizes.
        reasons: gets why an annotation is left out, by Python's `id` of it.
        is_converted: whether our own readers have made the boxes from another format's.

    Returns:
        Those that can be used.
    """
    for entry in annotations:
        entry.pop(NO_AREA, None)
    if not is_converted:
        _convert_boxes(annotations, images, source, changes)
    _renumber(annotations)
    _unset_crowds(annotations)
    sizes: dict[Id, Size] = {image["id"]: (image["height"], image["width"]) for image in images}
    for index, problem in find_unusable_masks(annotations, sizes).items():
        if problem.kind != "mask-missing":
            reasons[id(annotations[index])] = f"it {problem}"
    for entry in annotations:
        if id(entry) not in reasons and (reason := _mend_shape(entry, sizes[entry["image_id"]])):
            reasons[id(entry)] = reason
    kept = [entry for entry in annotations if id(entry) not in reasons]
    again = {id(entry) for entry in _copies(kept)}
    reasons.update(dict.fromkeys(again, "it is there twice"))
    return [entry for entry in kept if id(entry) not in again]


def as_crowds_without_masks(annotations: list[Entry], images: Sequence[Entry], reasons: dict[int, str]) -> list[Entry]:
    """Mends a file in which some objects have masks: the box of each other one becomes a crowd, which is no target and
    is neither right nor wrong in scoring, since nobody knows its mask. The arguments are those of `mend_objects`."""
    lacking = [entry for entry in annotations if not entry.get("segmentation")]
    if len(lacking) == len(annotations):
        return annotations
    sizes: dict[Id, Size] = {image["id"]: (image["height"], image["width"]) for image in images}
    for entry in lacking:
        x, y, width, height = entry["bbox"]
        size = sizes[entry["image_id"]]
        shape = mask_shape([[x, y, x + width, y, x + width, y + height, x, y + height]], size)
        if not shape.pixels or shape.box is None:
            reasons[id(entry)] = "it has no mask, and its box no whole pixel"
            continue
        entry["segmentation"] = {"size": list(size), "counts": shape.runs["counts"].decode("ascii")}
        entry.update(iscrowd=1, bbox=list(shape.box), area=shape.pixels)
    return [entry for entry in annotations if id(entry) not in reasons]


def _convert_boxes(annotations: Sequence[Entry], images: Sequence[Entry], source: str, changes: Changes) -> None:
    """Boxes that are corners or shares of sides become x, y, width and height in pixels."""
    forms = BoxForms()
    forms.add(*boxes_and_sizes(images, annotations))
    if form := forms.other_form:
        was = "left, top, right, bottom" if form == CORNERS else "shares of the sides of images"
        changes.add(source, "all boxes", f"{was} converted to x, y, width, height in pixels")
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        for entry in annotations:
            entry["bbox"] = in_pixels(entry["bbox"], form, sizes[entry["image_id"]])


def _renumber(annotations: Sequence[Entry]) -> None:
    """New ids for annotations without one, or with that of another."""
    used: set[Any] = set()
    highest = max((entry["id"] for entry in annotations if type(entry.get("id")) is int), default=0)
    for entry in annotations:
        if type(entry.get("id")) not in (int, str) or entry["id"] in used:
            highest += 1
            entry["id"] = highest
        used.add(entry["id"])


def _unset_crowds(annotations: Sequence[Entry]) -> None:
    """Of a file in which every object is a crowd, which no set is meant to be."""
    if all(entry.get("iscrowd") for entry in annotations):
        for entry in annotations:
            entry["iscrowd"] = 0
            entry.pop("ignore", None)


def _mend_shape(entry: Entry, size: Size) -> str:
    """Mends mask, box and area of an object; returns why it cannot be used, or ""."""
    if not entry.get("segmentation"):
        return _mend_box(entry, size)
    shape = mask_shape(entry["segmentation"], size)
    if not shape.pixels or shape.box is None:
        return "its mask has no pixel of the image"
    if shape.is_unclear:  # the same pixels, written so that everyone reads them alike
        entry["segmentation"] = {"size": list(size), "counts": shape.runs["counts"].decode("ascii")}
    if min(entry["bbox"][2:]) <= 0 or not boxes_agree(entry["bbox"], shape.box, size):
        entry["bbox"] = list(shape.box)
    entry["bbox"] = box_within(entry["bbox"], size)
    if not area_fits_mask(entry, shape):
        entry["area"] = shape.pixels
    return ""


def _mend_box(entry: Entry, size: Size) -> str:
    """Mends box and area of an object without a mask; returns why it cannot be used, or ""."""
    entry["bbox"] = box_within(entry["bbox"], size)
    _, _, width, height = entry["bbox"]
    if min(width, height) <= 0:
        return "its box has no pixel of the image"
    if not area_fits_box(entry):
        entry["area"] = width * height
    return ""


def _copies(annotations: Sequence[Entry]) -> list[Entry]:
    """Objects that are in their image twice."""
    of_images: dict[Id, list[Entry]] = {}
    for entry in annotations:
        of_images.setdefault(entry["image_id"], []).append(entry)
    return [entry for own in of_images.values() for entry in repeated_objects(own)]

"""COCO's instances files, read by one set of rules for training and scoring.

    Refused          lists, ids or references that nothing can be made of; boxes that are not four finite numbers;
                     flags, areas and sizes that are none; annotations of which none is an object to find
    Left out         annotations of images that the file does not list
    Counted as crowd annotations with `ignore: 1`, as crowds: no target in training, neither right nor wrong in scoring
    Taken            annotation ids that repeat or are missing (nothing refers to them), null flags as 0, missing areas
                     as those of the box or mask, categories without a name by their id
    Marked           boxes without a pixel of their image (`boxes.NO_AREA`), which box detectors and box AP leave out

Masks are looked at where they are used, by `masks.find_unusable_masks`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

from .boxes import as_finite_numbers, described, mark_boxes, read_boxes
from .ids import Id, check_alike, check_unique, kind_of_ids, unlisted
from .json_file import Entry, column, entries_of, read_json
from .oddities import Oddities

FORMAT = "COCO's instances format"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoInstances:
    """What a COCO instances file says, after the checks.

    Args:
        source: the file, for messages.
        images: in the order of their ids, as in the file; `height` and `width` are whole numbers where it has them.
        class_names: name of each category id, in the order of the ids.
        annotations: those of listed images, in the order of the file; None where it has no such list (test-dev).
    """

    source: str
    images: list[Entry]
    class_names: dict[Id, str]
    annotations: list[Entry] | None


@paused_collection()
def read_instances(path: str | Path) -> CocoInstances:
    """Reads and checks a file, and says in one line what is odd about it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be used; the message names the file, the entry and what to do.
    """
    return check_instances(read_json(path), path)


@paused_collection()
def check_instances(content: Any, path: str | Path) -> CocoInstances:
    """Checks content in COCO's instances format, wherever it comes from, and says in one line what is odd about it.

    Args:
        path: what it comes from, for messages.

    Raises:
        ValueError: as `read_instances`.
    """
    images, categories = entries_of(content, ("images", "categories"), path, FORMAT)
    images = _checked_images(images, f"{path}: images")
    class_names = _class_names(categories, f"{path}: categories")
    annotations = None
    if "annotations" in content:
        (annotations,) = entries_of(content, ("annotations",), path, FORMAT)
        annotations = _checked_annotations(annotations, images, class_names, str(path))
    return CocoInstances(str(path), images, class_names, annotations)


def _checked_images(images: list[Entry], where: str) -> list[Entry]:
    """Images in the order of their ids."""
    ids = column(images, "id", where)
    if not ids:
        raise ValueError(f"{where} are none; the list is empty.")
    kind_of_ids(ids, where)
    check_unique(ids, where)
    for image in images:
        for key in ("height", "width"):
            if image.get(key) is None:
                image.pop(key, None)
            elif not isinstance(side := image[key], int | float) or isinstance(side, bool) or not _is_length(side):
                raise ValueError(f"{where}: {image['id']!r} has the {key} {side!r}, which is no number of pixels.")
            else:
                image[key] = int(side)
    return sorted(images, key=lambda image: image["id"])


def _is_length(side: float) -> bool:
    return 0 < side < 2**31 and side == int(side)


def _class_names(categories: list[Entry], where: str) -> dict[Id, str]:
    ids = column(categories, "id", where)
    if not ids:
        raise ValueError(f"{where} are none; the list is empty.")
    kind_of_ids(ids, where)
    check_unique(ids, where)
    names = {}
    for category in sorted(categories, key=lambda category: category["id"]):
        name = category.get("name")
        if not isinstance(name, str | int | float | None):
            raise ValueError(f"{where}: {category['id']!r} has the name {name!r}, which is no text.")
        names[category["id"]] = str(category["id"] if name is None else name)
    return names


def _checked_annotations(
    annotations: list[Entry], images: list[Entry], class_names: Mapping[Id, str], path: str
) -> list[Entry]:
    """Annotations of listed images, with flags of 0 and 1 and marked boxes."""
    where = f"{path}: annotations"
    if not annotations:
        raise ValueError(
            f"{where} are none; the list is empty, so nothing is left to find: add objects, or remove the list from a "
            "file of images that are only to be predicted."
        )
    oddities = Oddities(f"{path} ({len(annotations)} annotations)")
    known, rows = _of_known_images(annotations, images, path, oddities)
    used = column(known, "category_id", where)
    if unknown := unlisted(used, class_names.keys(), f"{where} (category_id)", f"{path}: categories"):
        listed = some_of(sorted(unknown), 10)
        raise ValueError(f"{path} uses category ids {listed} that are not in its list of categories: add them to it.")
    _count_ids(known, oddities)
    _set_flags(known, where, oddities)
    _check_areas(known, where, oddities)
    empty, beyond = mark_boxes(known, read_boxes(known, path), _sizes_of(images)[rows])
    oddities.add("boxes have no pixel of their image; only masks use their objects", empty)
    oddities.add("boxes reach beyond their image; training cuts them off, scoring does not", beyond)
    crowds = sum([entry.get("iscrowd", 0) for entry in known])
    oddities.add("are crowds (iscrowd: 1), which are no targets", crowds)
    if crowds == len(known):
        raise ValueError(
            f"Nothing is left to find: {oddities} Set iscrowd and ignore to 0 for the objects that are to be found."
        )
    oddities.log(logger, logging.INFO if len(oddities.counts) == bool(crowds) else logging.WARNING)
    return known


def _of_known_images(
    annotations: list[Entry], images: list[Entry], path: str, oddities: Oddities
) -> tuple[list[Entry], np.ndarray]:
    """The annotations of images that are listed, and the place of each one's image among them."""
    ids = column(annotations, "image_id", f"{path}: annotations")
    places = {image["id"]: place for place, image in enumerate(images)}
    check_alike(ids, places, f"{path}: annotations (image_id)", f"{path}: images")
    rows = list(map(places.get, ids))
    if None in rows:
        annotations = [entry for entry, row in zip(annotations, rows) if row is not None]
        oddities.add("are of images that it does not list, and left out", len(rows) - len(annotations))
    return annotations, np.array([row for row in rows if row is not None], dtype=np.int64)


def _count_ids(annotations: Sequence[Entry], oddities: Oddities) -> None:
    """Nothing refers to the ids of annotations, so they may be anything."""
    ids = [entry.get("id") for entry in annotations]
    if not set(map(type, ids)) <= {int, str}:
        ids = [key for key in ids if type(key) in (int, str)]
    oddities.add("have no id, which nothing needs", len(annotations) - len(ids))
    oddities.add("repeat the id of another; they count all the same", len(ids) - len(set(ids)))


def _set_flags(annotations: Sequence[Entry], where: str, oddities: Oddities) -> None:
    """Makes `iscrowd` 0 or 1 where it stands, and 1 for what is to be ignored."""
    for key in ("iscrowd", "ignore"):
        if set(map(type, flags := [entry.get(key, 0) for entry in annotations])) == {int} and not any(flags):
            continue
        flagged = [entry for entry in annotations if key in entry]
        for entry in flagged:
            if entry[key] not in (0, 1, None):
                raise ValueError(f"{where}: {described(entry)} has {key} {entry[key]!r}, which must be 0 or 1.")
        empty = [entry for entry in flagged if entry[key] is None]
        oddities.add(f"have {key} null, which counts as 0", len(empty))
        for entry in empty:
            entry[key] = 0
        if key == "ignore":
            _ignore_as_crowds(flagged, oddities)


def _ignore_as_crowds(flagged: Sequence[Entry], oddities: Oddities) -> None:
    ignored = [entry for entry in flagged if entry["ignore"]]
    oddities.add("have ignore: 1 and count as crowds", len(ignored))
    for entry in ignored:
        entry["iscrowd"] = 1


def _check_areas(annotations: Sequence[Entry], where: str, oddities: Oddities) -> None:
    """An area is a number of 0 or more, or missing."""
    given = [area for entry in annotations if (area := entry.get("area")) is not None]
    oddities.add("have no area; that of the box or mask is taken", len(annotations) - len(given))
    areas = as_finite_numbers(given, (len(given),))
    if areas is None or (areas < 0).any():
        bad = next(entry for entry in annotations if entry.get("area") is not None and not _is_area(entry["area"]))
        raise ValueError(f"{where}: {described(bad)} has the area {bad['area']!r}, which is no number of pixels.")


def _is_area(value: Any) -> bool:
    area = as_finite_numbers([value], (1,))
    return area is not None and bool(area[0] >= 0)


def _sizes_of(images: Sequence[Entry]) -> np.ndarray:
    """(N, 2) width and height of each image, infinite where the file does not say."""
    sizes = [(image.get("width", np.inf), image.get("height", np.inf)) for image in images]
    return np.array(sizes, dtype=np.float64)

"""COCO's panoptic files, read by one set of rules for training and scoring.

    Refused   lists, ids or references that nothing can be made of; categories without id, name or isthing; images
              without size or file; segments without a usable id and category; nothing to find in the whole file;
              a file without things in which an image has several segments of one class
    Left out  images without annotations
    Taken     null flags as 0, missing areas as those of the pixels, several segments of one kind of stuff in an image

PNGs are looked at where they are read, by `panoptic_labels.read_listed_ids`.
"""

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

from ..panoptic_labels import LARGEST_ID
from .ids import KINDS, Id, check_unique, kind_of_ids, unlisted
from .json_file import Entry, column, entries_of, read_json
from .oddities import Oddities

FORMAT = "COCO's panoptic format"
_NO_IMAGE_HAS = 2.0**63  # pixels

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PanopticAnnotations:
    """What a panoptic file says, after the checks.

    Args:
        source: the file, for messages.
        images: by id; `file_name`, `height` and `width` are there.
        categories: in the order of the file; `id`, `name` and `isthing` are there.
        segments: the annotation of each image that has one by the id of the image, in the order of the file: the PNG
            `file_name`, and `segments_info` with `id`, `category_id` and `iscrowd`.
    """

    source: str
    images: dict[Id, Entry]
    categories: list[Entry]
    segments: dict[Id, Entry]


@paused_collection()
def read_panoptic(path: str | Path) -> PanopticAnnotations:
    """Reads and checks a ground truth, and says in one line what is odd about it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be used; the message names the file, the entry and what to do.
    """
    content = read_json(path)
    lists = entries_of(content, ("images", "categories", "annotations"), path, FORMAT)
    images, categories = _checked_images(lists[0], f"{path}: images"), _checked_categories(lists[1], path)
    segments = _by_image(lists[2], path)
    if unknown := unlisted(list(segments), images, f"{path}: annotations (image_id)", f"{path}: images"):
        raise ValueError(f"{path} has annotations of images that it does not list: {_listed(unknown)}; add them.")
    oddities = Oddities(f"{path} ({len(segments)} annotated images)")
    oddities.add("images have no annotation and are left out", len(images) - len(segments))
    _check_all_segments(segments, categories, path, oddities)
    oddities.log(logger)
    return PanopticAnnotations(str(path), images, categories, segments)


@paused_collection()
def read_panoptic_predictions(path: str | Path) -> dict[Id, Entry]:
    """Annotations of a file of predictions by the id of their image, whose segments pass the checks of a ground truth.

    Such a file lists no categories; the scoring looks for those of the ground truth.

    Raises:
        FileNotFoundError, ValueError: as `read_panoptic`.
    """
    (annotations,) = entries_of(read_json(path), ("annotations",), path, FORMAT)
    by_image = _by_image(annotations, path)
    for image_id, annotation in by_image.items():
        _check_segments(annotation["segments_info"], None, f"{path}, image {image_id!r}")
    return by_image


def _checked_images(images: list[Entry], where: str) -> dict[Id, Entry]:
    ids = column(images, "id", where)
    kind_of_ids(ids, where)
    check_unique(ids, where)
    for image in images:
        _check_text(image, "file_name", f"{where}: {image['id']!r}")
        for side in ("height", "width"):
            if type(pixels := image.get(side)) is not int or not 0 < pixels < 2**31:
                raise ValueError(
                    f"{where}: {image['id']!r} has the {side} {pixels!r}; write the number of pixels."
                    if side in image
                    else f"{where}: {image['id']!r} has no {side}; write the number of pixels."
                )
    return dict(zip(ids, images, strict=True))


def _checked_categories(categories: list[Entry], path: str | Path) -> list[Entry]:
    where = f"{path}: categories"
    ids, names, flags = (column(categories, key, where) for key in ("id", "name", "isthing"))
    if not ids:
        raise ValueError(f"{where} are none; the list is empty.")
    kind_of_ids(ids, where)
    check_unique(ids, where)
    for category, name, flag in zip(categories, names, flags, strict=True):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{where}: {category['id']!r} has the name {name!r}, which is no text.")
        if flag not in (0, 1):
            raise ValueError(f"{where}: {name!r} has isthing {flag!r}; write 1 for what is countable, else 0.")
    check_unique(names, where, "name")
    return categories


def _by_image(annotations: list[Entry], path: str | Path) -> dict[Id, Entry]:
    where = f"{path}: annotations"
    if any("segments_info" not in annotation for annotation in annotations):
        raise ValueError(f"{where} lack segments_info, so it is not in {FORMAT}; is it an instances file?")
    ids = column(annotations, "image_id", where)
    kind_of_ids(ids, where)
    check_unique(ids, where, "image_id")
    for annotation in annotations:
        of_image = f"{where}: that of image {annotation['image_id']!r}"
        _check_text(annotation, "file_name", of_image)
        segments = annotation["segments_info"]
        if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
            raise ValueError(f"{of_image} has a segments_info that is no list of objects.")
    return dict(zip(ids, annotations, strict=True))


def _check_text(entry: Entry, key: str, where: str) -> None:
    if not isinstance(entry.get(key), str) or not entry[key]:
        has = f"the {key} {entry[key]!r}" if key in entry else f"no {key}"
        raise ValueError(f"{where} has {has}; write the name of the file.")
    if not _is_file_name(entry[key]):
        raise ValueError(f"{where} has the {key} {entry[key]!r}, which no file can have; write the name of the file.")


def _is_file_name(text: str) -> bool:
    """JSON can write zeros and halves of characters, which no system can look for."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _check_all_segments(
    segments: Mapping[Id, Entry], categories: Sequence[Entry], path: str | Path, oddities: Oddities
) -> None:
    names = {category["id"]: category["name"] for category in categories}
    stuff = {category["id"] for category in categories if not category["isthing"]}
    nulls = found = 0
    repeated: dict[Id, list[Id]] = {}  # kinds of stuff with several segments, by image
    for image_id, annotation in segments.items():
        infos = annotation["segments_info"]
        nulls += _check_segments(infos, names, f"{path}, image {image_id!r}")
        of_objects = [segment["category_id"] for segment in infos if not segment["iscrowd"]]
        found += len(of_objects)
        kinds = [category for category in of_objects if category in stuff]
        if len(set(kinds)) < len(kinds):
            repeated[image_id] = [category for category, count in Counter(kinds).items() if count > 1]
    if not found:
        raise ValueError(f"{path} has nothing to find: no image has a segment that is not a crowd (iscrowd: 1).")
    if repeated and len(stuff) == len(names):
        image_id, kinds = next(iter(repeated.items()))
        raise ValueError(
            f"{path} says that no category is a thing (isthing 0), but image {image_id!r} has several segments of "
            f"{some_of(repr(names[kind]) for kind in kinds)}: write isthing 1 for what is countable."
        )
    oddities.add("segments have iscrowd null, which counts as 0", nulls)
    oddities.add("images have several segments of one kind of stuff (isthing 0), which predictions join", len(repeated))


def _check_segments(segments: Sequence[Entry], names: Mapping[Id, str] | None, where: str) -> int:
    """Checks the segments of an image, sets `iscrowd`, and returns how many had null there.

    Args:
        names: of the known categories by id; None if any may be meant.
    """
    nulls = 0
    for segment in segments:
        number, category = segment.get("id"), segment.get("category_id")
        if type(number) is not int or not 0 < number <= LARGEST_ID:
            raise ValueError(f"{where}: the segment id {number!r} must be a whole number from 1 to {LARGEST_ID}.")
        if type(category) not in KINDS or (names is not None and category not in names):
            problem = "has no category_id" if category is None else f"has the unknown category id {category!r}"
            known = "write a whole number or text" if names is None else f"the categories are {_listed(names)}"
            raise ValueError(f"{where}: segment {number} {problem}; {known}.")
        if segment.setdefault("iscrowd", 0) is None:
            segment["iscrowd"] = 0
            nulls += 1
        if segment["iscrowd"] not in (0, 1) or not _is_area(segment.get("area")):
            key = "area" if segment["iscrowd"] in (0, 1) else "iscrowd"
            raise ValueError(f"{where}: segment {number} has the {key} {segment[key]!r}, which has no meaning.")
    check_unique([segment["id"] for segment in segments], f"{where}: segments")
    return nulls


def _is_area(area: Any) -> bool:
    return area is None or (type(area) in (int, float) and 0 <= area < _NO_IMAGE_HAS)


def _listed(ids: Any) -> str:
    return some_of(map(repr, sorted(ids)), 10)

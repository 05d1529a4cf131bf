"""COCO's panoptic files, read by one set of rules for training and scoring.

    Refused   lists, ids or references that nothing can be made of; categories without id, name or isthing; images
              without size or file; segments without a usable id and category; nothing to find in the whole file;
              a file without things in which an image has several segments of one class
    Left out  images without annotations
    Taken     null flags as 0, missing areas as those of the pixels, several segments of one kind of stuff in an image

PNGs are looked at where they are read, by `panoptic_labels.read_listed_ids`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

from .entries import alike, distinct, identified, referring, with_key
from .faults import FaultError, Report, strict
from .files import can_be_file
from .findings import Findings, without
from .flags import meant_flag
from .ids import Id
from .json_file import Entry, entries_of, read_json
from .segments import checked_segments

FORMAT = "COCO's panoptic format"

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


def read_panoptic(path: str | Path, report: Report = strict) -> PanopticAnnotations:
    """Reads and checks a ground truth, and says in one line what is odd about it.

    Args:
        report: see `check_panoptic`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be used; the message names the file, the entry and what to do.
    """
    with paused_collection():
        try:
            content = read_json(path)
        except FaultError as error:
            report(error.fault)
            return PanopticAnnotations(str(path), {}, [], {})
        return check_panoptic(content, path, report)


@paused_collection()
def check_panoptic(content: Any, path: str | Path, report: Report = strict) -> PanopticAnnotations:
    """Checks content in COCO's panoptic format, and says in one line what is odd about it.

    Args:
        path: what it comes from, for messages.
        report: gets each fault; where it goes on after an error, the faulty entries are mended or dropped, and nothing
            is logged. Then images may lack `height` and `width`.

    Raises:
        ValueError: as `read_panoptic`.
    """
    findings = Findings(path, report)
    lists = entries_of(content, ("images", "categories", "annotations"), path, FORMAT, report)
    images, categories = _checked_images(lists[0], findings), _checked_categories(lists[1], findings)
    categories, first_ids = _of_one_name(categories, findings)
    segments = _of_known_images(_by_image(lists[2], findings), images, findings)
    findings.oddities.source = f"{path} ({len(segments)} annotated images)"
    lacking = [image_id for image_id in images if image_id not in segments]
    findings.odd("image-without-annotation", "images have no annotation and are left out", lacking, "note")
    _take_first_ids(segments, first_ids)
    _check_all_segments(segments, categories, findings)
    findings.log(logger)
    return PanopticAnnotations(str(path), images, categories, segments)


@paused_collection()
def read_panoptic_predictions(path: str | Path) -> dict[Id, Entry]:
    """Annotations of a file of predictions by the id of their image, whose segments pass the checks of a ground truth.

    Such a file lists no categories; the scoring looks for those of the ground truth.

    Raises:
        FileNotFoundError, ValueError: as `read_panoptic`.
    """
    (annotations,) = entries_of(read_json(path), ("annotations",), path, FORMAT)
    findings = Findings(path, strict)
    by_image = _by_image(annotations, findings)
    for image_id, annotation in by_image.items():
        checked_segments(annotation["segments_info"], None, image_id, findings)
    return by_image


def _checked_images(images: list[Entry], findings: Findings) -> dict[Id, Entry]:
    where = f"{findings.path}: images"
    by_id = {}
    for image in identified(images, "images", findings):
        named = _has_file_name(image, image["id"], f"{where}: {image['id']!r}", findings)
        for side in ("height", "width"):
            if type(pixels := image.get(side)) is not int or not 0 < pixels < 2**31:
                has = f"the {side} {pixels!r}" if side in image else f"no {side}"
                message = f"{where}: {image['id']!r} has {has}; write the number of pixels."
                findings.error("image-size-value", message, [image])
                image.pop(side, None)
        if named:
            by_id[image["id"]] = image
    return by_id


def _checked_categories(categories: list[Entry], findings: Findings) -> list[Entry]:
    where = f"{findings.path}: categories"
    for key in ("id", "name", "isthing"):
        categories, _ = with_key(categories, key, "categories", findings)
    if not categories:
        findings.error("no-categories", f"{where} are none; the list is empty.")
    categories = identified(categories, "categories", findings)
    for category in list(categories):
        name, flag = category["name"], category["isthing"]
        if not isinstance(name, str) or not name.strip():
            message = f"{where}: {category['id']!r} has the name {name!r}, which is no text."
            findings.error("category-name", message, [category])
            category["name"] = str(category["id"])
        if flag not in (0, 1):
            message = f"{where}: {name!r} has isthing {flag!r}; write 1 for what is countable, else 0."
            findings.error("flag-value", message, [category])
            category["isthing"] = meant_flag(flag)
    return categories


def _of_one_name(categories: list[Entry], findings: Findings) -> tuple[list[Entry], dict[Id, Id]]:
    """The first category of each name, and its id for the ids of the others that are the same class."""
    names = [category["name"].strip() for category in categories]
    firsts: dict[str, Entry] = {}
    first_ids = {}
    for name, category in zip(names, categories, strict=True):
        first = firsts.setdefault(name, category)
        if first is not category and first["isthing"] == category["isthing"]:
            first_ids[category["id"]] = first["id"]
    where = f"{findings.path}: categories"
    return distinct(categories, names, "name", "duplicate-category-name", where, findings), first_ids


def _take_first_ids(segments: Mapping[Id, Entry], first_ids: Mapping[Id, Id]) -> None:
    for annotation in segments.values() if first_ids else ():
        for segment in annotation["segments_info"]:
            key = segment.get("category_id")
            segment["category_id"] = first_ids.get(key, key) if isinstance(key, int | str) else key


def _by_image(annotations: list[Entry], findings: Findings) -> dict[Id, Entry]:
    where = f"{findings.path}: annotations"
    if lacking := [annotation for annotation in annotations if "segments_info" not in annotation]:
        message = f"{where} lack segments_info, so it is not in {FORMAT}; is it an instances file?"
        findings.error("segments-missing", message, lacking)
        annotations = without(annotations, lacking)
    annotations, ids = with_key(annotations, "image_id", "annotations", findings)
    annotations, ids = alike(annotations, ids, "image_id", "image-id-type", where, findings)
    annotations = distinct(annotations, ids, "image_id", "duplicate-annotation", where, findings)
    return {entry["image_id"]: entry for entry in annotations if _is_annotation(entry, where, findings)}


def _is_annotation(annotation: Entry, where: str, findings: Findings) -> bool:
    """Whether it names its PNG and lists segments."""
    of_image = f"{where}: that of image {annotation['image_id']!r}"
    if not _has_file_name(annotation, annotation["image_id"], of_image, findings):
        return False
    segments = annotation["segments_info"]
    if isinstance(segments, list) and all(isinstance(segment, dict) for segment in segments):
        return True
    message = f"{of_image} has a segments_info that is no list of objects."
    findings.error("not-a-list-of-objects", message, [annotation["image_id"]])
    return False


def _has_file_name(entry: Entry, image_id: Id, where: str, findings: Findings) -> bool:
    if can_be_file(name := entry.get("file_name")):
        return True
    has = f"the file_name {name!r}" if "file_name" in entry else "no file_name"
    which = ", which no file can have" if isinstance(name, str) and name else ""
    findings.error("file-name", f"{where} has {has}{which}; write the name of the file.", [image_id])
    return False


def _of_known_images(segments: dict[Id, Entry], images: Mapping[Id, Entry], findings: Findings) -> dict[Id, Entry]:
    annotations, ids = referring(list(segments.values()), list(segments), images, "image_id", "images", findings)
    if unknown := set(ids) - images.keys():
        message = f"{findings.path} has annotations of images that it does not list: {_listed(unknown)}; add them."
        findings.error("image-unknown", message, sorted(unknown))
    return {entry["image_id"]: entry for entry in annotations if entry["image_id"] not in unknown}


def _check_all_segments(segments: Mapping[Id, Entry], categories: Sequence[Entry], findings: Findings) -> None:
    names = {category["id"]: category["name"] for category in categories}
    stuff = {category["id"] for category in categories if not category["isthing"]}
    nulls: list[str] = []
    found = 0
    repeated: dict[Id, list[Id]] = {}  # kinds of stuff with several segments, by image
    for image_id, annotation in segments.items():
        infos, of_image = checked_segments(annotation["segments_info"], names, image_id, findings)
        annotation["segments_info"] = infos
        nulls += of_image
        of_objects = [segment["category_id"] for segment in infos if not segment["iscrowd"]]
        found += len(of_objects)
        kinds = [category for category in of_objects if category in stuff]
        if len(set(kinds)) < len(kinds):
            repeated[image_id] = [category for category, count in Counter(kinds).items() if count > 1]
    if not found:
        message = f"{findings.path} has nothing to find: no image has a segment that is not a crowd (iscrowd: 1)."
        findings.error("nothing-to-find", message)
    if repeated and len(stuff) == len(names):
        _report_no_things(repeated, names, findings)
    findings.odd("flag-null", "segments have iscrowd null, which counts as 0", nulls, "note")
    what = "images have several segments of one kind of stuff (isthing 0), which predictions join"
    findings.odd("stuff-in-pieces", what, list(repeated))


def _report_no_things(repeated: Mapping[Id, list[Id]], names: Mapping[Id, str], findings: Findings) -> None:
    image_id, kinds = next(iter(repeated.items()))
    findings.error(
        "no-things",
        f"{findings.path} says that no category is a thing (isthing 0), but image {image_id!r} has several segments of "
        f"{some_of(repr(names[kind]) for kind in kinds)}: write isthing 1 for what is countable.",
        list(repeated),
    )


def _listed(ids: Iterable[Id]) -> str:
    return some_of(map(repr, sorted(ids)), 10)

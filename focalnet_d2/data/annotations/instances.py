"""COCO's instances files, read by one set of rules for training and scoring.

    Refused          lists, ids or references that nothing can be made of; boxes that are not four finite numbers;
                     flags, areas and sizes that are none; annotations of which none is an object to find; files
                     whose boxes are corners or shares of sides (`box_forms`)
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
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

from .box_forms import CORNERS, BoxForms, form_problem
from .boxes import as_finite_numbers, described, mark_boxes, with_boxes
from .entries import identified, referring, with_key
from .faults import FaultError, Report, strict
from .findings import Findings, without
from .flags import set_flags
from .ids import Id, repeats_of
from .json_file import Entry, entries_of, read_json
from .oddities import Oddities

FORMAT = "COCO's instances format"
CROWDS = "are crowds (iscrowd: 1), which are no targets"
WITHOUT_ID = "have no id, which nothing needs"
REPEATED_IDS = "repeat the id of another; they count all the same"

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


def read_instances(path: str | Path, report: Report = strict) -> CocoInstances:
    """Reads and checks a file, and says in one line what is odd about it.

    Args:
        report: see `check_instances`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be used; the message names the file, the entry and what to do.
    """
    with paused_collection():
        try:
            content = read_json(path)
        except FaultError as error:
            report(error.fault)
            return CocoInstances(str(path), [], {}, None)
        return check_instances(content, path, report)


@paused_collection()
def check_instances(
    content: Any, path: str | Path, report: Report = strict, *, is_converted: bool = False
) -> CocoInstances:
    """Checks content in COCO's instances format, wherever it comes from, and says in one line what is odd about it.

    Args:
        path: what it comes from, for messages.
        report: gets each fault; where it goes on after an error, the faulty entries are mended or dropped, so that
            what is returned is usable, and nothing is logged.
        is_converted: whether our own readers have made the boxes from another format's.

    Raises:
        ValueError: as `read_instances`.
    """
    findings = Findings(path, report)
    images, categories = entries_of(content, ("images", "categories"), path, FORMAT, report)
    images = checked_images(images, findings)
    class_names = checked_class_names(categories, findings)
    annotations = None
    if isinstance(content, dict) and "annotations" in content:
        (annotations,) = entries_of(content, ("annotations",), path, FORMAT, report)
        listed = Listed.of(images, class_names)
        annotations = _checked_annotations(annotations, listed, findings, is_converted) if images else []
    return CocoInstances(str(path), images, class_names, annotations)


def checked_images(images: list[Entry], findings: Findings) -> list[Entry]:
    """Images in the order of their ids."""
    where = f"{findings.path}: images"
    if not images:
        findings.error("no-images", f"{where} are none; the list is empty.")
    images = identified(images, "images", findings)
    for image in images:
        for key in ("height", "width"):
            if image.get(key) is None:
                image.pop(key, None)
            elif not isinstance(side := image[key], int | float) or isinstance(side, bool) or not _is_length(side):
                message = f"{where}: {image['id']!r} has the {key} {side!r}, which is no number of pixels."
                findings.error("image-size-value", message, [image])
                image.pop(key)
            else:
                image[key] = int(side)
    return sorted(images, key=lambda image: image["id"])


def _is_length(side: float) -> bool:
    return 0 < side < 2**31 and side == int(side)


def checked_class_names(categories: list[Entry], findings: Findings) -> dict[Id, str]:
    """Name of each category id, in the order of the ids."""
    where = f"{findings.path}: categories"
    if not categories:
        findings.error("no-categories", f"{where} are none; the list is empty.")
    names = {}
    for category in sorted(identified(categories, "categories", findings), key=lambda category: category["id"]):
        name = category.get("name")
        if not isinstance(name, str | int | float | None):
            message = f"{where}: {category['id']!r} has the name {name!r}, which is no text."
            findings.error("category-name", message, [category])
            name = None
        names[category["id"]] = str(category["id"] if name is None else name)
    return names


def _checked_annotations(
    annotations: list[Entry], listed: "Listed", findings: Findings, is_converted: bool
) -> list[Entry]:
    """Annotations of listed images, with flags of 0 and 1 and marked boxes."""
    where = f"{findings.path}: annotations"
    if not annotations:
        findings.error(
            "no-annotations",
            f"{where} are none; the list is empty, so nothing is left to find: add objects, or remove the list from a "
            "file of images that are only to be predicted.",
        )
        return []
    findings.oddities.source = f"{findings.path} ({len(annotations)} annotations)"
    known, boxes, sizes = check_annotations(annotations, listed, findings)
    if not is_converted:
        _check_form(known, boxes, sizes, findings)
    _count_repeated_ids(known, findings)
    crowds = findings.oddities.counts[CROWDS]
    if crowds == len(known):
        remedy = "Set iscrowd and ignore to 0 for the objects that are to be found."
        kind = "every-object-is-crowd" if crowds else "nothing-to-find"
        findings.error(kind, f"Nothing is left to find: {findings.oddities} {remedy}", known)
    findings.log(logger, level_of(findings.oddities))
    return known


def _check_form(annotations: list[Entry], boxes: np.ndarray, sizes: np.ndarray, findings: Findings) -> None:
    forms = BoxForms()
    only_corners = forms.add(boxes, sizes)
    if form := forms.other_form:
        places = np.flatnonzero(only_corners).tolist() if form == CORNERS else range(len(annotations))
        bad = [annotations[place] for place in places]
        findings.error(f"boxes-of-{form}", form_problem(findings.path, form, len(bad), len(annotations)), bad)


def level_of(oddities: Oddities) -> int:
    """Of the line about a file: crowds alone are as they should be."""
    return logging.INFO if oddities.counts.keys() <= {CROWDS} else logging.WARNING


@dataclass(frozen=True)
class Listed:
    """What annotations refer to.

    Attributes:
        places: place of each image by its id.
        sizes: (N, 2) width and height of each image, infinite where the file does not say.
        class_names: name of each category id.
    """

    places: Mapping[Id, int]
    sizes: np.ndarray
    class_names: Mapping[Id, str]

    @classmethod
    def of(cls, images: Sequence[Entry], class_names: Mapping[Id, str]) -> "Listed":
        """Those of checked images."""
        sizes = [(image.get("width", np.inf), image.get("height", np.inf)) for image in images]
        places = {image["id"]: place for place, image in enumerate(images)}
        return cls(places, np.array(sizes, dtype=np.float64), class_names)


def check_annotations(
    annotations: list[Entry], listed: Listed, findings: Findings
) -> tuple[list[Entry], np.ndarray, np.ndarray]:
    """Looks at annotations each by itself, so that a long list may come in parts.

    Returns:
        Those of listed images, with flags of 0 and 1 and marked boxes; their boxes, (N, 4) XYWH pixels; and the width
        and height of each one's image, (N, 2), infinite where the file does not say.
    """
    known, rows = _of_known_images(annotations, listed.places, findings)
    known = _of_known_classes(known, listed.class_names, findings)
    _count_missing_ids(known, findings)
    set_flags(known, findings)
    _check_areas(known, f"{findings.path}: annotations", findings)
    known, boxes = with_boxes(known, findings)
    if len(known) < len(rows):  # the report went on without some
        rows = [listed.places[entry["image_id"]] for entry in known]
    sizes = listed.sizes[np.array(rows, dtype=np.int64)]
    mark_boxes(known, boxes, sizes, findings)
    findings.odd("crowds", CROWDS, [entry for entry in known if entry.get("iscrowd", 0)], "note")
    return known, boxes, sizes


def _of_known_images(
    annotations: list[Entry], places: Mapping[Id, int], findings: Findings
) -> tuple[list[Entry], list[int]]:
    """The annotations of images that are listed, and the place of each one's image among them."""
    annotations, ids = with_key(annotations, "image_id", "annotations", findings)
    listed = list(islice(places, 1))  # all are alike, and there may be many
    annotations, ids = referring(annotations, ids, listed, "image_id", "images", findings)
    rows = list(map(places.get, ids, repeat(-1)))
    if -1 in rows:
        others = [entry for entry, row in zip(annotations, rows) if row < 0]
        findings.odd("image-unknown", "are of images that it does not list, and left out", others)
        annotations = [entry for entry, row in zip(annotations, rows) if row >= 0]
        rows = [row for row in rows if row >= 0]
    return annotations, rows


def _of_known_classes(annotations: list[Entry], class_names: Mapping[Id, str], findings: Findings) -> list[Entry]:
    annotations, ids = with_key(annotations, "category_id", "annotations", findings)
    annotations, ids = referring(annotations, ids, class_names.keys(), "category_id", "categories", findings)
    if not (unknown := set(ids) - class_names.keys()):
        return annotations
    bad = [entry for entry in annotations if entry["category_id"] in unknown]
    listed = some_of(sorted(unknown), 10)
    message = f"{findings.path} uses category ids {listed} that are not in its list of categories: add them to it."
    findings.error("category-unknown", message, bad)
    return without(annotations, bad)


def _count_missing_ids(annotations: Sequence[Entry], findings: Findings) -> None:
    """Nothing refers to the ids of annotations, so they may be anything."""
    ids = [entry.get("id") for entry in annotations]
    if not set(map(type, ids)) <= {int, str}:
        lacking = [entry for entry, key in zip(annotations, ids) if type(key) not in (int, str)]
        findings.odd("annotation-without-id", WITHOUT_ID, lacking, "note")


def _count_repeated_ids(annotations: Sequence[Entry], findings: Findings) -> None:
    ids = [entry.get("id") for entry in annotations]
    if findings.oddities.counts[WITHOUT_ID]:  # else all are whole numbers or text
        ids = [key for key in ids if type(key) in (int, str)]
    if len(ids) != len(set(ids)):
        findings.odd("duplicate-annotation-id", REPEATED_IDS, repeats_of(ids))


def _check_areas(annotations: Sequence[Entry], where: str, findings: Findings) -> None:
    """An area is a number of 0 or more, or missing."""
    given = [area for entry in annotations if (area := entry.get("area")) is not None]
    if len(given) < len(annotations):
        lacking = [entry for entry in annotations if entry.get("area") is None]
        findings.odd("area-missing", "have no area; that of the box or mask is taken", lacking, "note")
    areas = as_finite_numbers(given, (len(given),))
    if areas is None or (areas < 0).any():
        bad = [entry for entry in annotations if entry.get("area") is not None and not _is_area(entry["area"])]
        message = f"{where}: {described(bad[0])} has the area {bad[0]['area']!r}, which is no number of pixels."
        findings.error("area-value", message, bad)
        for entry in bad:
            del entry["area"]


def _is_area(value: Any) -> bool:
    area = as_finite_numbers([value], (1,))
    return area is not None and bool(area[0] >= 0)

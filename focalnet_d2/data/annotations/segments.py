"""Segments of an image in COCO's panoptic format: their ids, classes, flags and areas."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from focalnet_d2.utils.text import some_of

from ..panoptic_png import LARGEST_ID
from .entries import converted, distinct
from .findings import Findings, without
from .flags import meant_flag
from .ids import KINDS, Id
from .json_file import Entry

_NO_IMAGE_HAS = 2.0**63  # pixels


def checked_segments(
    segments: list[Entry], names: Mapping[Id, str] | None, image_id: Id, findings: Findings
) -> tuple[list[Entry], list[str]]:
    """The usable segments of an image, with `iscrowd` set, and names of those that had null there.

    Args:
        names: of the known categories by id; None if any may be meant.
    """
    where = f"{findings.path}, image {image_id!r}"
    nulls: list[str] = []
    dropped = []
    for segment in segments:
        if not _has_id(segment, image_id, findings) or not _has_category(segment, names, image_id, findings):
            dropped.append(segment)
            continue
        if segment.setdefault("iscrowd", 0) is None:
            segment["iscrowd"] = 0
            nulls.append(segment_name(image_id, segment["id"]))
        if segment["iscrowd"] not in (0, 1) or not _is_area(segment.get("area")):
            _mend_values(segment, image_id, findings)
    segments = without(segments, dropped) if dropped else segments
    ids = [segment["id"] for segment in segments]
    named = partial(segment_name, image_id)
    return distinct(segments, ids, "id", "duplicate-segment-id", f"{where}: segments", findings, named), nulls


def segment_name(image_id: Id | None, segment_id: Any) -> str:
    """A segment, whose id is one of its image, as faults name it."""
    return f"{image_id}/{segment_id}"


def _has_id(segment: Entry, image_id: Id, findings: Findings) -> bool:
    """Whether a segment has a usable id, or now has it as the number that its text says."""
    number = segment.get("id")
    if type(number) is int and 0 < number <= LARGEST_ID:
        return True
    where = f"{findings.path}, image {image_id!r}"
    message = f"{where}: the segment id {number!r} must be a whole number from 1 to {LARGEST_ID}."
    findings.error("segment-id", message, [segment_name(image_id, number)])
    meant = converted(number, int)
    if meant is None or not 0 < int(meant) <= LARGEST_ID:
        return False
    segment["id"] = meant
    return True


def _has_category(segment: Entry, names: Mapping[Id, str] | None, image_id: Id, findings: Findings) -> bool:
    """Whether a segment has a known category, or now has it as the id that is meant."""
    category = segment.get("category_id")
    if type(category) in KINDS and (names is None or category in names):
        return True
    kind = type(next(iter(names))) if names else int
    meant = converted(category, kind)
    if names is None or meant not in names:
        _report_category(segment, names, image_id, findings)
        return False
    message = (
        f"{findings.path}, image {image_id!r}: segment {segment['id']} has the category id {category!r}, but the "
        f"categories have {KINDS[kind]} for ids ({meant!r}): write both alike."
    )
    findings.error("category-id-type", message, [segment_name(image_id, segment["id"])])
    segment["category_id"] = meant
    return True


def _report_category(segment: Entry, names: Mapping[Id, str] | None, image_id: Id, findings: Findings) -> None:
    category, number = segment.get("category_id"), segment["id"]
    problem = "has no category_id" if category is None else f"has the unknown category id {category!r}"
    known = "write a whole number or text"
    if names is not None:
        known = f"the categories are {some_of(map(repr, sorted(names)), 10)}"
    message = f"{findings.path}, image {image_id!r}: segment {number} {problem}; {known}."
    findings.error("category-unknown", message, [segment_name(image_id, number)])


def _mend_values(segment: Entry, image_id: Id, findings: Findings) -> None:
    """Reports a flag or an area that is none, and puts the flag that is meant, or no area."""
    where = f"{findings.path}, image {image_id!r}: segment {segment['id']}"
    named = [segment_name(image_id, segment["id"])]
    if segment["iscrowd"] not in (0, 1):
        findings.error("flag-value", f"{where} has the iscrowd {segment['iscrowd']!r}, which has no meaning.", named)
        segment["iscrowd"] = meant_flag(segment["iscrowd"])
    if not _is_area(segment.get("area")):
        findings.error("area-value", f"{where} has the area {segment['area']!r}, which has no meaning.", named)
        del segment["area"]


def _is_area(area: Any) -> bool:
    return area is None or (type(area) in (int, float) and 0 <= area < _NO_IMAGE_HAS)

"""Panoptic labels: PNG and JSON that have to say the same.

Ids, classes and flags that cannot be used are found in reading (`annotations/panoptic.py`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ..annotations.faults import SHOWN_IDS, Fault
from ..annotations.json_file import Entry
from ..annotations.segments import segment_name
from ..panoptic_labels import label_runs, read_panoptic_ids, unlisted_ids_message
from .label_files import read_labels
from .objects import fault, too_many, too_small
from .tasks import LabelFindings, LabelTask

BOX_PIXELS = 1.5  # by which the sides of boxes differ among tools: some count the last pixel, some do not


class Extent(NamedTuple):
    """The pixels of a segment: how many, and the XYWH box around them."""

    area: int
    bbox: list[int]


def check_panoptic_image(task: LabelTask) -> LabelFindings:
    """The segments of one image against its PNG."""
    findings = LabelFindings(counts=Counter(("class", segment["category_id"]) for segment in task.labels))
    findings.faults += too_many(task, task.labels)
    ids = read_labels(task, read_panoptic_ids, findings)
    if ids is None:
        return findings
    extents = extents_of(ids)
    sides = [(one, extents[one["id"]].area ** 0.5) for one in task.labels if one["id"] in extents]
    findings.faults += [*_unlisted(task, extents), *too_small(task, sides)]
    for segment in task.labels:
        findings.faults += _check_segment(task, segment, extents.get(segment["id"]))
    return findings


def extents_of(ids: np.ndarray) -> dict[int, Extent]:
    """The pixels of each segment of a map (H, W) of ids, but for 0."""
    height, width = ids.shape
    rows = np.repeat(np.arange(height, dtype=np.int32), width)
    (values, tops), lengths = label_runs(ids, rows)  # stretches within one row
    lefts = (np.cumsum(lengths) - lengths) % width
    order = np.argsort(values, kind="stable")
    segments, starts = np.unique(values[order], return_index=True)
    areas = np.add.reduceat(lengths[order], starts)
    left, top = (np.minimum.reduceat(column[order], starts) for column in (lefts, tops))
    right, bottom = (np.maximum.reduceat(column[order], starts) for column in (lefts + lengths, tops + 1))
    boxes = np.stack([left, top, right - left, bottom - top], axis=1)
    columns = zip(segments.tolist(), areas.tolist(), boxes.tolist(), strict=True)
    return {number: Extent(area, box) for number, area, box in columns if number}


def _unlisted(task: LabelTask, extents: Mapping[int, Extent]) -> Iterator[Fault]:
    """Pixels of segments that the JSON does not list."""
    listed = {segment["id"] for segment in task.labels}
    if unlisted := sorted(extents.keys() - listed):
        message = unlisted_ids_message(task.label_file, unlisted)
        names = tuple(segment_name(task.image_id, number) for number in unlisted[:SHOWN_IDS])
        yield Fault("pixels-without-segment", "error", task.source, message, names, len(unlisted))


def _check_segment(task: LabelTask, segment: Entry, extent: Extent | None) -> Iterator[Fault]:
    named = [segment_name(task.image_id, segment["id"])]
    if extent is None:
        what = "has no pixel in the PNG: remove it, or take the PNG and the JSON of one version"
        yield fault(task, "segment-without-pixels", "warning", what, named)
        return
    area, box = segment.get("area"), segment.get("bbox")
    if area is not None and area != extent.area:
        what = (
            f"has the area {area}, but {extent.area} pixels in the PNG, by which the scores would be wrong: take that"
        )
        yield fault(task, "area-wrong", "warning", what, named)
    if box is not None and not _is_box(box, extent.bbox):
        what = f"has the box {box}, but its pixels have {extent.bbox} (x, y, width, height): take that"
        yield fault(task, "mask-box-disagree", "warning", what, named)


def agrees_with_pixels(segment: Entry, extent: Extent) -> bool:
    """Whether area and box of a segment, where it has them, are those of its pixels."""
    area, box = segment.get("area"), segment.get("bbox")
    return area in (None, extent.area) and (box is None or _is_box(box, extent.bbox))


def _is_box(box: object, expected: list[int]) -> bool:
    try:
        return bool((np.abs(np.asarray(box, dtype=np.float64) - expected) <= BOX_PIXELS).all())
    except (ValueError, TypeError):
        return False

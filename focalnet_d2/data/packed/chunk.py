"""Annotations of a chunk as columns: of usual ones all at once, of any others by the rules of `annotations`.

What is usual is asked of whole columns and not of each annotation, which is most of the time that a big file takes.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from focalnet_d2.kernels.box_annotations import BoxColumns, read_boxes

from ..annotations import instances
from ..annotations.boxes import NO_AREA, without_pixels
from ..annotations.findings import Findings
from ..annotations.ids import Id
from ..annotations.instances import Listed
from ..annotations.json_file import Entry
from ..annotations.json_stream import UnusualJsonError
from ..annotations.masks import Size
from .columns import CROWD, HAS_CROWD, NO_BOX

_EXACT = 2**53  # whole numbers below it are floats without loss
_NEEDED = ("image_id", "category_id", "id", "area", "bbox")  # of an annotation that needs no closer look
_CLOSER_LOOK = {"ignore", "keypoints", NO_AREA}  # keys of one that does
_SPREAD = 8  # ids are looked up in a table that has at most so many times as many places


@dataclass(frozen=True)
class Chunk:
    """Checked annotations that follow each other.

    Attributes:
        annotations: N of them, as they were read; none where there is no more to know of them.
        rows, classes: (N,) places of the images and of the categories.
        flags: (N,) uint8 of `columns`, without those of masks.
        boxes: (N, 4) XYWH pixels.
        whole: (4 N,) bool, which of their numbers are written without a point.
        sizes: (N, 2) width and height of each one's image.
        ids: (up to N,) int64, a number for each id, the same for the same id.
        has_masks: whether one of the annotations has, or may have, a segmentation.
        odd: places of annotations that columns cannot say, their masks aside.
    """

    annotations: Sequence[Entry]
    rows: np.ndarray
    classes: np.ndarray
    flags: np.ndarray
    boxes: np.ndarray
    whole: np.ndarray
    sizes: np.ndarray
    ids: np.ndarray
    has_masks: bool
    odd: Sequence[int] = ()


class Places:
    """Where ids stand in a list.

    Args:
        of: place of each id; the ids in rising order.
    """

    def __init__(self, of: Mapping[Id, int]):
        self.of = of
        numbers = _whole(list(of))
        self._numbers = np.empty(0, np.int64) if numbers is None else numbers
        self._table: np.ndarray | None = None
        if len(self._numbers) and int(self._numbers[-1]) - int(self._numbers[0]) < _SPREAD * len(self._numbers):
            self._table = np.full(int(self._numbers[-1] - self._numbers[0]) + 1, -1, np.int32)
            self._table[self._numbers - self._numbers[0]] = np.arange(len(self._numbers))

    def find(self, ids: np.ndarray) -> np.ndarray | None:
        """(N,) the places of N ids, int64; None where one of them is not in the list."""
        numbers = self._numbers
        if not len(numbers) or not len(ids) or ids.min() < numbers[0] or ids.max() > numbers[-1]:
            return None
        if self._table is not None:
            places = self._table[ids - numbers[0]]
            return None if places.min() < 0 else places.astype(np.int64)
        places = np.searchsorted(numbers, ids)
        return places if np.array_equal(numbers[places], ids) else None


@dataclass(frozen=True)
class Lists(Mapping[Id, Size]):
    """What annotations are compared with; as a mapping, height and width of each image by its id.

    Attributes:
        listed: the same for single annotations.
        images, classes: ids of both lists.
        findings: gets what is odd.
    """

    listed: Listed
    images: Places
    classes: Places
    findings: Findings

    def __getitem__(self, image_id: Id) -> Size:
        width, height = self.listed.sizes[self.images.of[image_id]].tolist()
        return int(height), int(width)

    def __iter__(self) -> Iterator[Id]:
        return iter(self.images.of)

    def __len__(self) -> int:
        return len(self.images.of)


def chunk_of_text(text: bytes, lists: Lists) -> Chunk | None:
    """The chunk of annotations that are boxes alone; None where one of them is anything but usual.

    Args:
        text: of the list, without its brackets.
    """
    columns = read_boxes(text)
    return None if columns is None else _usual((), columns, lists, has_masks=False)


def usual_chunk(annotations: list[Entry], lists: Lists) -> Chunk | None:
    """The chunk of annotations of which no rule has anything to say but of crowds and of boxes beyond their images.

    Returns:
        None where some are unusual: `checked_chunk` looks at each.
    """
    layouts = _layouts(annotations)
    found = _found(annotations, layouts)
    if found is None:
        return None
    image_ids, category_ids, ids = (_whole(found[key]) for key in ("image_id", "category_id", "id"))
    areas, boxes, crowds = _real(found["area"]), _boxes(found["bbox"]), _crowds(found.get("iscrowd"), len(annotations))
    if ids is None or image_ids is None or category_ids is None or areas is None or boxes is None or crowds is None:
        return None
    has_crowd = np.full(len(ids), "iscrowd" in found)
    columns = BoxColumns(ids, image_ids, category_ids, areas, *boxes, crowds, has_crowd)
    chunk = _usual(annotations, columns, lists, has_masks=any("segmentation" in layout for layout in layouts))
    for place in () if chunk is None else np.flatnonzero(chunk.flags & NO_BOX).tolist():
        annotations[place][NO_AREA] = True
    return chunk


def _usual(annotations: Sequence[Entry], columns: BoxColumns, lists: Lists, *, has_masks: bool) -> Chunk | None:
    """The chunk of columns; None where an image, a class, an area or a box is none."""
    rows, labels = lists.images.find(columns.image_ids), lists.classes.find(columns.category_ids)
    if rows is None or labels is None or columns.areas.min() < 0:
        return None
    if not max(columns.areas.max(), np.abs(columns.boxes).max()) < _EXACT:
        return None
    sizes, findings = lists.listed.sizes[rows], lists.findings
    no_area = without_pixels(columns.ids, columns.boxes, sizes, findings)
    findings.odd("crowds", instances.CROWDS, columns.ids[columns.crowds].tolist(), "note")
    flags = columns.crowds * CROWD | no_area * NO_BOX | columns.has_crowd * HAS_CROWD
    return Chunk(
        annotations, rows, labels, flags.astype(np.uint8), columns.boxes, columns.whole.ravel(), sizes, columns.ids,
        has_masks,
    )  # fmt: skip


def checked_chunk(annotations: list[Entry], lists: Lists) -> Chunk:
    """The chunk of annotations, each of which the rules look at.

    Raises:
        UnusualJsonError, ValueError: the file has to be read at once.
    """
    known, boxes, sizes = instances.check_annotations(annotations, lists.listed, lists.findings)
    ids = [_number(key) for entry in known if type(key := entry.get("id")) in (int, str)]
    return Chunk(
        known,
        np.array([lists.images.of[entry["image_id"]] for entry in known], np.int64),
        np.array([lists.classes.of[entry["category_id"]] for entry in known], np.int64),
        _flags(known),
        boxes,
        whole_numbers(boxes.ravel(), [entry["bbox"] for entry in known]),
        sizes,
        np.array(ids, np.int64),
        any(entry.get("segmentation") for entry in known),
        _odd_places(known),
    )


def _number(key: Id) -> int:
    """Of 64 bits, the same for the same id."""
    return key if type(key) is int and abs(key) < _EXACT else hash(key)  # type: ignore[return-value]


def whole_numbers(values: np.ndarray, pieces: Sequence[Sequence[float]]) -> np.ndarray:
    """(N,) bool: which numbers are written without a point.

    Args:
        values: (N,) the numbers as floats.
        pieces: the numbers as they were read, in lists that follow each other.

    Raises:
        UnusualJsonError: one is a truth value, or a whole number that no float holds.
    """
    whole = np.zeros(len(values), bool)
    suspects = np.flatnonzero(values == np.rint(values))
    ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
    owners = np.searchsorted(ends, suspects, side="right")
    places = suspects - ends[owners]  # from the end of the piece
    kinds = [type(pieces[owner][place]) for owner, place in zip(owners.tolist(), places.tolist())]
    whole[suspects] = [kind is int for kind in kinds]
    if not set(kinds) <= {int, float} or (np.abs(values[whole]) >= _EXACT).any():
        raise UnusualJsonError("a number is a truth value, or too large")
    return whole


def _layouts(annotations: list[Entry]) -> set[frozenset[str]]:
    """All sets of keys that annotations have."""
    keys = frozenset().union(*annotations)
    return {keys} if set(map(len, annotations)) == {len(keys)} else set(map(frozenset, annotations))


def _found(annotations: list[Entry], layouts: set[frozenset[str]]) -> dict[str, list] | None:
    """What all annotations have, by key; None where some have what others lack, or what needs a closer look.

    Args:
        layouts: their keys.
    """
    keys, shared = frozenset().union(*layouts), frozenset.intersection(*layouts)
    if not shared.issuperset(_NEEDED) or keys & _CLOSER_LOOK or ("iscrowd" in keys) != ("iscrowd" in shared):
        return None
    read = (*_NEEDED, "iscrowd") if "iscrowd" in shared else _NEEDED
    return {key: [annotation[key] for annotation in annotations] for key in read}


def _whole(values: Sequence[Any]) -> np.ndarray | None:
    """(N,) int64 of whole numbers; None of anything else, and of none."""
    if not len(values):
        return None
    try:
        numbers = np.frombuffer(array("q", values), np.int64)
    except (TypeError, OverflowError):
        return None
    return None if _has_bool(numbers, values) else numbers


def _real(values: Sequence[Any]) -> np.ndarray | None:
    """(N,) numbers that floats hold exactly, float64; None of anything else, and of NaN."""
    try:
        numbers = np.frombuffer(array("d", values))
    except (TypeError, OverflowError):
        return None
    return numbers if np.abs(numbers).max() < _EXACT and not _has_bool(numbers, values) else None


def _has_bool(numbers: np.ndarray, values: Sequence[Any]) -> bool:
    """Whether one of the values is true or false, which `array` takes for 1 and 0."""
    suspects = np.flatnonzero((numbers == 0) | (numbers == 1))
    if 2 * len(suspects) > len(numbers):
        return bool in set(map(type, values))
    return any(type(values[place]) is bool for place in suspects.tolist())


def _boxes(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """(N, 4) finite numbers, and which are written without a point, the same shape; None of anything else."""
    if set(map(type, values)) != {list} or set(map(len, values)) != {4}:
        return None
    values = list(chain.from_iterable(values))
    numbers = _real(values)
    if numbers is None:
        return None
    whole = numbers == np.rint(numbers)
    if whole.all() and set(map(type, values)) == {int}:
        return numbers.reshape(-1, 4), whole.reshape(-1, 4)
    suspects = np.flatnonzero(whole)
    whole[suspects] = [type(values[place]) is int for place in suspects.tolist()]
    return numbers.reshape(-1, 4), whole.reshape(-1, 4)


def _crowds(values: Sequence[Any] | None, count: int) -> np.ndarray | None:
    """(N,) bool of flags that are 0 and 1, or of no flags; None of anything else."""
    if values is None:
        return np.zeros(count, bool)
    flags = _whole(values)
    return None if flags is None or flags.min() < 0 or flags.max() > 1 else flags == 1


def _flags(annotations: Sequence[Entry]) -> np.ndarray:
    """(N,) flags of `columns`, without those of masks."""
    crowds = [annotation.get("iscrowd") for annotation in annotations]  # null is 0 by now
    given, crowd = np.array([value is not None for value in crowds]), np.array([bool(value) for value in crowds])
    no_box = np.array([NO_AREA in annotation for annotation in annotations])
    return (given * HAS_CROWD + crowd * CROWD + no_box * NO_BOX).astype(np.uint8)


def _odd_places(annotations: Sequence[Entry]) -> list[int]:
    """Where annotations have keypoints, or a flag that is no whole number."""
    return [
        index
        for index, annotation in enumerate(annotations)
        if annotation.get("keypoints") or type(annotation.get("iscrowd", 0)) is not int
    ]

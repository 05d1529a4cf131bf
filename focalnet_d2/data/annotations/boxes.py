"""Boxes of COCO's annotations: four finite numbers each, and which of them hold no pixel of their image."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from .findings import Findings, without
from .json_file import Entry
from .masks import mask_box

NO_AREA = "box_has_no_area"  # key that marks an annotation whose box cannot be found, and cannot be learned
TOLERANCE = 1.0  # pixels by which annotation tools round beyond the image


def with_boxes(annotations: list[Entry], findings: Findings) -> tuple[list[Entry], np.ndarray]:
    """The annotations with a box of four finite numbers, and the (N, 4) float64 XYWH pixels of their boxes."""
    values = [annotation.get("bbox") for annotation in annotations]
    boxes = as_finite_numbers(values, (len(values), 4))
    if boxes is None:
        bad = [entry for entry, value in zip(annotations, values) if as_finite_numbers([value], (1, 4)) is None]
        findings.error(
            "box-value",
            f"{findings.path} has an annotation without a box of four finite numbers, on image "
            f"{bad[0]['image_id']!r}: {described(bad[0])} has {bad[0].get('bbox')!r}; write x, y, width and height in "
            "pixels.",
            bad,
        )
        annotations = without(annotations, [entry for entry in bad if not _set_box(entry)])
        boxes = np.array([entry["bbox"] for entry in annotations], dtype=np.float64).reshape(-1, 4)
    return annotations, boxes


def _set_box(annotation: Entry) -> bool:
    """Takes the box around the mask, if there is one."""
    if (box := mask_box(annotation.get("segmentation"))) is None:
        return False
    annotation["bbox"] = box
    return True


def mark_boxes(annotations: Sequence[Entry], boxes: np.ndarray, sizes: np.ndarray, findings: Findings) -> None:
    """Marks the annotations whose box has no pixel of the image, and counts the others that reach beyond it.

    Args:
        boxes: (N, 4) XYWH pixels; without a pixel are sides of 0 or less, and boxes that are outside.
        sizes: (N, 2) width and height of each annotation's image, infinite where the file does not say.
    """
    for place in np.flatnonzero(without_pixels(annotations, boxes, sizes, findings)).tolist():
        annotations[place][NO_AREA] = True


def without_pixels(entries: Sequence[Any], boxes: np.ndarray, sizes: np.ndarray, findings: Findings) -> np.ndarray:
    """(N,) bool: which boxes have no pixel of their image; counts them, and the others that reach beyond it.

    Args:
        entries: annotations, or their ids.
        boxes, sizes: as of `mark_boxes`.
    """
    first, sides, limits = (np.ascontiguousarray(one.T) for one in (boxes[:, :2], boxes[:, 2:], sizes))  # (2, N)
    last = first + sides
    without_area = _either((sides <= 0) | (first >= limits) | (last <= 0))
    outside = _either((first < -TOLERANCE) | (last > limits + TOLERANCE)) & ~without_area
    marked, beyond = ([entries[place] for place in np.flatnonzero(found)] for found in (without_area, outside))
    findings.odd("box-empty", "boxes have no pixel of their image; only masks use their objects", marked)
    what = "boxes reach beyond their image; training cuts them off, scoring does not"
    findings.odd("box-beyond-image", what, beyond)
    return without_area


def _either(conditions: np.ndarray) -> np.ndarray:
    """(2, N) bool -> (N,): what holds of one of both sides."""
    return conditions[0] | conditions[1]


def as_numbers(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """The values as a float64 array of that shape; None if they are anything but numbers, or of another shape.

    The truth values of JSON are no numbers, though numpy takes them for 0 and 1 where they stand among numbers.
    """
    if not len(values):
        return np.zeros(shape)
    try:
        array = np.array(values)
    except (ValueError, OverflowError):  # rows of different lengths
        return None
    if array.shape != shape or array.dtype.kind not in "iuf":  # text, null and numbers of any length are others
        return None
    return None if _has_bool(array, values) else array.astype(np.float64)


def _has_bool(array: np.ndarray, values: Sequence[Any]) -> bool:
    """Whether one of the values is true or false; only the rows with a 0 or 1 can have one, so others are not read."""
    suspects = np.flatnonzero(((array == 0) | (array == 1)).reshape(len(array), -1).any(axis=1)).tolist()
    rows = [values[index] for index in suspects]
    return bool in set(map(type, chain.from_iterable(rows) if array.ndim > 1 else rows))


def as_finite_numbers(values: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray | None:
    """As `as_numbers`, of that shape, and None as well if a number is nan or infinite."""
    array = as_numbers(values, shape)
    return array if array is not None and np.isfinite(array).all() else None


def described(annotation: Entry) -> str:
    """An annotation by its id, for a message."""
    return f"the annotation with id {annotation['id']!r}" if "id" in annotation else "one without an id"

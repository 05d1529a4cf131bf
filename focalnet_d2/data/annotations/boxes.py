"""Boxes of COCO's annotations: four finite numbers each, and which of them hold no pixel of their image."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from .json_file import Entry

NO_AREA = "box_has_no_area"  # key that marks an annotation whose box cannot be found, and cannot be learned
TOLERANCE = 1.0  # pixels by which annotation tools round beyond the image


def read_boxes(annotations: Sequence[Entry], source: str) -> np.ndarray:
    """(N, 4) float64 XYWH pixels of the annotations.

    Raises:
        ValueError: an annotation without a box of four finite numbers.
    """
    values = [annotation.get("bbox") for annotation in annotations]
    boxes = as_finite_numbers(values, (len(values), 4))
    if boxes is None:
        bad = next(index for index, value in enumerate(values) if as_finite_numbers([value], (1, 4)) is None)
        raise ValueError(
            f"{source} has an annotation without a box of four finite numbers, on image "
            f"{annotations[bad]['image_id']!r}: {described(annotations[bad])} has {values[bad]!r}; write x, y, width "
            "and height in pixels."
        )
    return boxes


def mark_boxes(annotations: Sequence[Entry], boxes: np.ndarray, sizes: np.ndarray) -> tuple[int, int]:
    """Marks the annotations whose box has no pixel of the image: sides of 0 or less, or all of it outside.

    Args:
        boxes: (N, 4) XYWH pixels.
        sizes: (N, 2) width and height of each annotation's image, infinite where the file does not say.

    Returns:
        How many are marked, and how many of the others reach beyond their image.
    """
    first, last = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    without_area = ((boxes[:, 2:] <= 0) | (first >= sizes) | (last <= 0)).any(axis=1)
    for index in np.flatnonzero(without_area).tolist():
        annotations[index][NO_AREA] = True
    beyond = ((first < -TOLERANCE) | (last > sizes + TOLERANCE)).any(axis=1)
    return int(without_area.sum()), int((beyond & ~without_area).sum())


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

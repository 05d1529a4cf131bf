"""COCO annotations that are boxes alone, from JSON to columns, by a small C++ library (box_annotations.cpp).

A million of them as Python objects is what takes most of the time and memory of a big data set. Only text that needs no
closer look is taken: no masks, keypoints or crowds by another name, whole numbers for ids, no escapes, nothing missing.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .compiler import CompiledLibrary

LIBRARY = CompiledLibrary(Path(__file__).with_name("box_annotations.cpp"))
_SHORTEST = 60  # characters of an annotation
_NO_FLAG = 2


@dataclass(frozen=True)
class BoxColumns:
    """Annotations in the order of the text.

    Attributes:
        ids, image_ids, category_ids: (N,) int64.
        areas: (N,) as written, of any sign.
        boxes: (N, 4) as written.
        whole: (N, 4) bool, which of their numbers are written without a point.
        crowds, has_crowd: (N,) bool, whether iscrowd is 1, and whether it stands there.
    """

    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    whole: np.ndarray
    crowds: np.ndarray
    has_crowd: np.ndarray


def read_boxes(text: bytes) -> BoxColumns | None:
    """The annotations that text of a JSON list, without its brackets, has.

    Returns:
        None where one of them needs a closer look or the text is anything else, and where there is no library.
    """
    if LIBRARY.load() is None:
        return None
    most, count = len(text) // _SHORTEST + 1, ctypes.c_int64()
    whole_numbers = [np.empty(most, np.int64) for _ in range(3)]
    crowds, areas = np.empty(most, np.uint8), np.empty(most)
    boxes, whole = np.empty((most, 4)), np.empty((most, 4), np.uint8)
    arrays = (*whole_numbers, crowds, areas, boxes, whole)
    LIBRARY.function("read_boxes")(
        *(text, ctypes.c_int64(len(text)), ctypes.c_int64(most)),
        *(ctypes.c_void_p(array.ctypes.data) for array in arrays),
        ctypes.byref(count),
    )
    if count.value < 1:
        return None
    ids, images, classes, crowds, areas, boxes, whole = (
        array[: count.value].copy() for array in arrays
    )  # without the rest
    return BoxColumns(ids, images, classes, areas, boxes, whole.view(bool), crowds == 1, crowds != _NO_FLAG)

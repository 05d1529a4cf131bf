"""The class of every pixel of class logits, of a whole image or of its windows: UPerNet.

The rules are those of `focalnet_d2/modeling/upernet/sliding_window.py`: logits are brought to the size of the network's
input, means are taken where windows overlap, and these are brought to the size of the result, a few rows at a time.

Shapes: K classes, h x w pixels of the network's input, H x W of the result, R rows of a tile.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from focalnet_d2.utils.windows import window_spans

from ..result import Sizes
from .resizing import ResizedAxis, resize_axis, tiles

_FLOAT_BYTES = 4


class Window(NamedTuple):
    """A part of an image, pixels; bottom and right are the first that do not belong to it."""

    top: int
    left: int
    bottom: int
    right: int


def windows(image_size: tuple[int, int], settings: Mapping[str, Any]) -> list[Window]:
    """The windows of an image of (h, w), row by row; the last ones are moved back to end with the image.

    Args:
        settings: `window`, sides in pixels, 0: the whole image; `stride`, pixels from one to the next.
    """
    rows, columns = (window_spans(side, settings["window"], settings["stride"]) for side in image_size)
    return [Window(top, left, bottom, right) for top, bottom in rows for left, right in columns]


def decode(outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """`semantic_map` of one image, of which `logits` (K, ., .) were made at once."""
    return decode_windows([outputs], [Window(0, 0, *sizes.image)], settings, sizes)


def decode_windows(
    outputs: Sequence[Mapping[str, np.ndarray]], parts: Sequence[Window], settings: Mapping[str, Any], sizes: Sizes
) -> dict[str, Any]:
    """`semantic_map` of one image.

    Args:
        outputs: of each window, `logits` (K, ., .) at any resolution.
        parts: from `windows`.
        settings: not looked at.
        sizes: of the image.
    """
    logits = [WindowLogits(one["logits"], part) for one, part in zip(outputs, parts, strict=True)]
    num_classes = len(outputs[0]["logits"])
    rows, columns = (resize_axis(*sides) for sides in zip(sizes.image, sizes.output, strict=True))
    classes = np.empty(sizes.output, np.int32)
    for start, stop in tiles(len(rows), num_classes * max(sizes.image[1], len(columns)) * _FLOAT_BYTES):
        first, end = rows.span(start, stop)
        merged = _merge(logits, first, end, (num_classes, sizes.image[1]))  # (R', K, w)
        if sizes.image != sizes.output:
            merged = columns.columns(rows.rows(merged, start, stop, first))  # (R, K, W)
        classes[start:stop] = merged.argmax(1)
    return {"semantic_map": classes}


class WindowLogits:
    """Logits (K, ., .) of a window, at the size of the window when rows of it are asked for."""

    def __init__(self, logits: np.ndarray, window: Window):
        self.window = window
        self._logits = np.ascontiguousarray(logits.transpose(1, 0, 2), dtype=np.float32)  # rows, K, columns
        self._rows: ResizedAxis = resize_axis(logits.shape[1], window.bottom - window.top)
        self._columns: ResizedAxis = resize_axis(logits.shape[2], window.right - window.left)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop - 1 of the window: (R, K, width)."""
        low, high = self._rows.span(start, stop)
        return self._rows.rows(self._columns.columns(self._logits[low:high]), start, stop, low)


def _merge(logits: Sequence[WindowLogits], start: int, stop: int, shape: tuple[int, int]) -> np.ndarray:
    """Means over the windows that have a pixel: rows start..stop - 1 of the image, (R, K, w) for shape (K, w)."""
    total = np.zeros((stop - start, *shape), np.float32)
    count = np.zeros((stop - start, 1, shape[1]), np.float32)
    for one in logits:
        top, left, bottom, right = one.window
        first, end = max(start, top), min(stop, bottom)
        if first < end:
            total[first - start : end - start, :, left:right] += one.rows(first - top, end - top)
            count[first - start : end - start, :, left:right] += 1
    return total / count

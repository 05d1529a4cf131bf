"""Boolean masks of large images that are kept within the boxes around them.

A thousand objects of 100 x 100 pixels in an image of 12,000 x 12,000 take 10 MB; at a bit for each pixel of the image
they would take 18 GB.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np


class CroppedMask(NamedTuple):
    """One mask within a larger image.

    Attributes:
        top, left: where `pixels` lie in the image.
        pixels: (h, w) bool; everything around is False.
    """

    top: int
    left: int
    pixels: np.ndarray

    @classmethod
    def around(cls, mask: np.ndarray, top: int = 0, left: int = 0) -> "CroppedMask":
        """The part of (H, W) bool, which lies at `top` and `left` of an image, that holds its pixels."""
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return cls(top, left, np.zeros((0, 0), bool))
        y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return cls(top + int(rows[0]), left + int(columns[0]), mask[y, x].copy())

    @classmethod
    def union(cls, masks: Sequence["CroppedMask"]) -> "CroppedMask":
        """Every pixel that one of the masks, at least one of which holds pixels, has."""
        masks = [mask for mask in masks if mask.pixels.size]
        top, left = min(mask.top for mask in masks), min(mask.left for mask in masks)
        bottom, right = max(mask.bottom for mask in masks), max(mask.right for mask in masks)
        pixels = np.zeros((bottom - top, right - left), bool)
        for mask in masks:
            pixels[mask.top - top : mask.bottom - top, mask.left - left : mask.right - left] |= mask.pixels
        return cls(top, left, pixels)

    @property
    def bottom(self) -> int:
        """The row below the last one."""
        return self.top + self.pixels.shape[0]

    @property
    def right(self) -> int:
        """The column beside the last one."""
        return self.left + self.pixels.shape[1]

    def within(self, top: int, left: int, bottom: int, right: int) -> np.ndarray:
        """(bottom - top, right - left) bool: the mask in a window of the image."""
        window = np.zeros((bottom - top, right - left), bool)
        y0, y1 = max(top, self.top), min(bottom, self.bottom)
        x0, x1 = max(left, self.left), min(right, self.right)
        if y0 < y1 and x0 < x1:
            part = self.pixels[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
            window[y0 - top : y1 - top, x0 - left : x1 - left] = part
        return window

    def run_lengths(self, height: int, width: int) -> list[int]:
        """The mask in an image of this size as COCO's run lengths: pixels outside and inside in turn, column by column.

        The pixels of the image are never made, only those of the mask.
        """
        columns = np.pad(self.pixels.T, ((0, 0), (1, 1))).astype(np.int8)  # (w, h + 2), background at both ends
        places, rows = np.nonzero(np.diff(columns, axis=1))  # starts and ends of runs in turn
        changes = (self.left + places) * height + self.top + rows
        joined = np.flatnonzero(changes[1:-1:2] == changes[2::2]) * 2 + 1  # a run that ends where the next one begins
        changes = np.delete(changes, np.concatenate([joined, joined + 1]))
        lengths = np.diff(np.concatenate([[0], changes, [height * width]])).tolist()
        return lengths if lengths[-1] else lengths[:-1]


class CroppedMasks(Sequence[np.ndarray]):
    """N masks of H x W pixels: an integer gives one dense (H, W) bool mask, a slice CroppedMasks.

    Args:
        masks: of one image.
        size: (H, W) of the image.
    """

    def __init__(self, masks: Sequence[CroppedMask], size: tuple[int, int]):
        self.crops, self.size = list(masks), size

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W)."""
        return (len(self.crops), *self.size)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return CroppedMasks(self.crops[index], self.size)
        return self.crops[index].within(0, 0, *self.size)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (crop.within(0, 0, *self.size) for crop in self.crops)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """(N, H, W) bool, all of them at once."""
        dense = np.zeros(self.shape, bool if dtype is None else dtype)
        for mask, crop in zip(dense, self.crops, strict=True):
            mask[crop.top : crop.bottom, crop.left : crop.right] = crop.pixels
        return dense


def crop_mask(masks: Sequence[np.ndarray] | np.ndarray, index: int) -> CroppedMask:
    """One of several masks (H, W) within the box around it."""
    return masks.crops[index] if isinstance(masks, CroppedMasks) else CroppedMask.around(np.asarray(masks[index]))

"""Where the labels of a picture go: inside it, beside what they name, and never over one another."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
from PIL import ImageFont
from scipy.ndimage import distance_transform_edt, find_objects

Place = tuple[int, int, int, int]  # left, top, right, bottom in pixels; right and bottom are outside
WIDEST = 0.35  # of the width of the picture, for the text of one label
DETAIL = 512  # pixels of the longer side of the map in which the middle of a region is looked for
_ELLIPSIS = "…"


class TextStyle(NamedTuple):
    """A font, and the pixels between a text and the edge of its label."""

    font: ImageFont.FreeTypeFont
    padding: int

    def size(self, text: str) -> tuple[int, int]:
        """Width and height of the label of a text."""
        left, top, right, bottom = self.font.getbbox(text)
        return int(right - left) + 2 * self.padding, int(bottom - top) + 2 * self.padding


def shortened(name: str, ending: str, style: TextStyle, widest: float) -> str:
    """`name` and `ending`, where need be with less of the name, so that they are at most `widest` pixels wide."""
    name = " ".join(name.split())  # a label is one line
    if style.font.getlength(name + ending) <= widest:
        return name + ending
    kept = len(name)
    while kept > 1 and style.font.getlength(name[:kept].rstrip() + _ELLIPSIS + ending) > widest:
        kept -= 1
    return name[:kept].rstrip() + _ELLIPSIS + ending


class LabelPlaces:
    """The free places of a picture.

    Args:
        width, height: of the picture, pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._taken = np.zeros((0, 4), np.int64)

    def take(self, corners: Iterable[tuple[float, float]], size: tuple[int, int]) -> Place | None:
        """The first free place of a size whose left top corner is one of these, moved into the picture; else None."""
        width, height = size
        if width > self.width or height > self.height:
            return None
        for x, y in corners:
            left, top = (round(min(max(value, 0), room)) for value, room in self._room(x, y, size))
            place = (left, top, left + width, top + height)
            if self._is_free(place):
                self._taken = np.vstack([self._taken, place])
                return place
        return None

    def _room(self, x: float, y: float, size: tuple[int, int]) -> tuple[tuple[float, int], tuple[float, int]]:
        return (x, self.width - size[0]), (y, self.height - size[1])

    def _is_free(self, place: Place) -> bool:
        left, top, right, bottom = place
        taken = self._taken
        over = (taken[:, 0] < right) & (taken[:, 2] > left) & (taken[:, 1] < bottom) & (taken[:, 3] > top)
        return not over.any()


def corners_at_box(box: Sequence[float], size: tuple[int, int]) -> list[tuple[float, float]]:
    """Places for a label at (4,) XYXY: above, below and inside, at its left and at its right end, and beside it."""
    left, top, right, bottom = box
    width, height = size
    rows = (top - height, bottom, top, bottom - height)
    return [(x, y) for y in rows for x in (left, right - width)] + [(right, top), (left - width, top)]


def middles_of_regions(regions: np.ndarray, count: int) -> list[tuple[float, float, float]]:
    """The point (x, y) that lies deepest inside each of the regions 0 to count - 1 of (H, W), and how deep, in pixels.

    Small regions that a coarse look at the map misses have the depth 0.
    """
    step = -(-max(regions.shape) // DETAIL)
    first_row, first_column = (min(step // 2, side - 1) for side in regions.shape)  # of an image thinner than a step
    small = regions[first_row::step, first_column::step]
    middles = []
    for index, place in enumerate(find_objects(small + 1, count)):
        rows, columns = place or (slice(0, 1), slice(0, 1))
        depth = cast(np.ndarray, distance_transform_edt(np.pad(small[rows, columns] == index, 1)))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        middle = ((columns.start + x + 0.5) * step, (rows.start + y + 0.5) * step)
        middles.append((*middle, max(float(depth[y, x]) - 0.5, 0.0) * step))
    return middles

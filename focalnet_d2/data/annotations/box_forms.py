"""Boxes that are not what COCO's are: corners (XYXY), or shares of the image's sides, in place of XYWH in pixels.

No single box shows it, but those of a whole file do: of corners, many fit into their images only so, and hardly one
only as it should be; shares of sides all lie within the first pixel of their images. Nothing learns from such boxes, so
reading refuses them, and a mended copy converts them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .boxes import TOLERANCE
from .json_file import Entry

CORNERS, SHARES = "corners", "shares"
_BEYOND = 0.1  # of a side, by which boxes reach beyond their image that a tool's rounding does not explain
_FEW = 0.02  # of all boxes, that a tool's errors explain
_MANY = 0.1  # of all boxes, that no error explains
_FULL = 1 + 1e-6  # of a side


@dataclass
class BoxForms:
    """What the boxes of a file that were seen so far may be; those of images of unknown size say nothing.

    Attributes:
        known: how many were seen.
        only_corners: of them, those that fit into their images as left, top, right and bottom alone.
        only_sides: of them, those that fit as left, top, width and height alone.
        within_one: of them, those that end within the first pixel of their image.
        has_fractions: whether one of them is not written in whole numbers.
    """

    known: int = 0
    only_corners: int = 0
    only_sides: int = 0
    within_one: int = 0
    has_fractions: bool = False

    def add(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Counts boxes; returns (N,) bool, which of them fit as corners alone.

        Args:
            boxes: (N, 4) finite numbers.
            sizes: (N, 2) width and height of each one's image, infinite where unknown.
        """
        starts, ends = np.ascontiguousarray(boxes[:, :2].T), np.ascontiguousarray(boxes[:, 2:].T)  # (2, N) each
        sides, sums = np.ascontiguousarray(sizes.T), starts + ends
        limits, is_known = sides + TOLERANCE, _both(np.isfinite(sides))
        as_sides, as_corners = _both((sums <= limits) & (ends > 0)), _both((ends <= limits) & (ends > starts))
        is_beyond = ~_both(sums <= (1 + _BEYOND) * sides + TOLERANCE)
        only_corners = is_known & as_corners & is_beyond
        self.known += int(is_known.sum())
        self.only_corners += int(only_corners.sum())
        self.only_sides += int((is_known & as_sides & ~as_corners).sum())
        within = (sums <= _FULL) & (ends <= _FULL) & (starts >= 0) & (ends >= 0)
        self.within_one += int((is_known & _both(within)).sum())
        self.has_fractions = self.has_fractions or bool((boxes[is_known] % 1 > 0).any())
        return only_corners

    @property
    def other_form(self) -> str:
        """`CORNERS` or `SHARES`; "" for XYWH in pixels."""
        if self.only_corners >= max(2, _MANY * self.known) and self.only_sides <= _FEW * self.known:
            return CORNERS
        return SHARES if self.known and self.within_one == self.known and self.has_fractions else ""


def _both(conditions: np.ndarray) -> np.ndarray:
    """(2, N) bool -> (N,): what holds of both sides."""
    return conditions[0] & conditions[1]


def boxes_and_sizes(images: Sequence[Entry], annotations: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) boxes of annotations, and (N, 2) width and height of each one's image, infinite where unknown."""
    sizes = {image["id"]: (image.get("width", np.inf), image.get("height", np.inf)) for image in images}
    boxes = np.array([entry["bbox"] for entry in annotations], dtype=np.float64).reshape(-1, 4)
    return boxes, np.array([sizes[entry["image_id"]] for entry in annotations], dtype=np.float64).reshape(-1, 2)


def form_problem(source: str, form: str, count: int, total: int) -> str:
    """What is wrong with the boxes of a file, and what to do.

    Args:
        form: of `BoxForms.other_form`.
        count: how many show it.
        total: boxes of the file.
    """
    if form == CORNERS:
        what = "fit into their images only as left, top, right and bottom"
    else:
        what = "lie within the first pixel of their images, as shares of its sides do"
    return (
        f"{source}: {count} of {total} boxes {what}, but COCO's boxes are x, y, width and height in pixels: convert "
        "all of them (focalnet-d2 check-data --fix writes such a copy)."
    )


def in_pixels(box: Sequence[float], form: str, size: tuple[float, float]) -> list[float]:
    """The XYWH box in pixels.

    Args:
        form: of `BoxForms.other_form`.
        size: height and width of the image.
    """
    if form == CORNERS:
        left, top, right, bottom = box
        return [left, top, right - left, bottom - top]
    height, width = size
    return [box[0] * width, box[1] * height, box[2] * width, box[3] * height]

"""Boxes, masks and areas of objects: when they say the same, but for what labelling tools count and round in many ways.

`check-data` reports what does not, and a mended copy is made by the same measure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from ..annotations.boxes import NO_AREA, TOLERANCE
from ..annotations.json_file import Entry
from ..annotations.masks import Segmentation, Size, compressed, mask_box
from .polygons import crosses_itself, perimeter, shoelace_area

AREA_SHARE = 0.1  # of a mask by which ways to count it may differ, beside a pixel along its border
BOX_SHARE = 0.1  # of the side of a box by which it may differ from its mask, at least `BOX_PIXELS`
BOX_PIXELS = 3.0
_LEAST_SHARE = 0.1  # of a box that an object fills


@dataclass(frozen=True)
class MaskShape:
    """What a usable mask is like.

    Attributes:
        pixels: of the image.
        polygons: (N, 2) corners of each; none of run lengths.
        is_unclear: whether a polygon crosses itself so that nobody can tell its inside.
        box: XYWH; None of one without a pixel.
        runs: the mask as compressed run lengths.
    """

    pixels: int
    polygons: list[np.ndarray]
    is_unclear: bool
    box: list[float] | None
    runs: Mapping[str, Any]

    def border(self) -> float:
        """Length of its polygons; 0 of run lengths."""
        return sum(map(perimeter, self.polygons))


def mask_shape(mask: Segmentation, size: Size) -> MaskShape:
    """The shape of a mask that `find_unusable_masks` takes.

    Args:
        size: height and width of the image.
    """
    encoded = compressed(mask, size)
    parts = encoded if isinstance(encoded, list) else [encoded]
    whole = mask_codec.merge(parts) if len(parts) > 1 else parts[0]
    polygons = [np.reshape(polygon, (-1, 2)) for polygon in mask] if isinstance(mask, list) else []
    drawn = [int(mask_codec.area(part)) for part in parts]
    return MaskShape(
        pixels=int(mask_codec.area(whole)) if len(parts) > 1 else drawn[0],
        polygons=polygons,
        is_unclear=any(_is_unclear(polygon, pixels) for polygon, pixels in zip(polygons, drawn)),
        box=mask_box(mask),
        runs=whole,
    )


def _is_unclear(polygon: np.ndarray, pixels: float) -> bool:
    """Whether a polygon crosses itself and its areas by its corners and by its pixels have little in common."""
    differ = abs(shoelace_area(polygon) - pixels)
    if differ <= AREA_SHARE * pixels + 2:  # nearly all of them, without a look at their sides
        return False
    return differ > AREA_SHARE * pixels + perimeter(polygon) / 2 + 2 and crosses_itself(polygon)


def area_fits_mask(entry: Entry, shape: MaskShape) -> bool:
    """Whether the area is that of the mask, counted in pixels or by corners, or missing.

    Those of crowds, which nothing is scored by, are other ones in COCO itself.
    """
    area = entry.get("area")
    if area is None or entry.get("iscrowd"):
        return True
    beyond = abs(area - shape.pixels) - AREA_SHARE * shape.pixels - 1
    return beyond <= 0 or beyond <= shape.border()


def is_area_of_box(entry: Entry) -> bool:
    """Whether the area is that of the box, as many tools write it for objects with masks."""
    _, _, width, height = entry["bbox"]
    return abs(entry["area"] - width * height) <= 0.01 * width * height + 1


def area_fits_box(entry: Entry) -> bool:
    """Whether the area of an object without a mask is one that an object in its box can have, or missing."""
    area, (width, height) = entry.get("area"), entry["bbox"][2:]
    most = (max(width, 0) + 1) * (max(height, 0) + 1)  # some tools count the last pixel
    return area is None or NO_AREA in entry or _LEAST_SHARE * width * height <= area <= 1.01 * most


def boxes_agree(box: Sequence[float], other: Sequence[float] | None, size: Size) -> bool:
    """Whether two XYWH boxes have the same sides within the image; True where there is no other."""
    if other is None:
        return True
    (x, y, width, height), (other_x, other_y, other_width, other_height) = box, other
    if abs(x - other_x) + abs(width - other_width) <= BOX_PIXELS >= abs(y - other_y) + abs(height - other_height):
        return True  # nearly all of them; cutting off brings sides only closer
    first, second = _corners(box, size), _corners(other, size)
    widths, heights = ((first[side + 2] - first[side], second[side + 2] - second[side]) for side in (0, 1))
    allowed = [max(BOX_PIXELS, BOX_SHARE * max(widths)), max(BOX_PIXELS, BOX_SHARE * max(heights))]
    return all(abs(one - two) <= most for one, two, most in zip(first, second, allowed * 2, strict=True))


def box_within(box: Sequence[float], size: Size) -> list[float]:
    """The XYWH box, cut off at the border of the image where it reaches further beyond it than by rounding."""
    x, y, width, height = box
    reach = max(-x, -y, x + width - size[1], y + height - size[0])
    if reach <= TOLERANCE:
        return list(box)
    left, top, right, bottom = _corners(box, size)
    return [left, top, right - left, bottom - top]


def _corners(box: Sequence[float], size: Size) -> list[float]:
    """Left, top, right and bottom of a XYWH box, cut off at the border of the image; faster than numpy for one box."""
    x, y, width, height = box
    limits = (size[1], size[0], size[1], size[0])
    return [float(min(max(side, 0), limit)) for side, limit in zip((x, y, x + width, y + height), limits)]


def repeated_objects(annotations: Sequence[Entry]) -> list[Entry]:
    """Objects of an image that are there before with the same class, box and mask."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in annotations:
        groups.setdefault((entry["category_id"], *entry["bbox"]), []).append(entry)
    return [
        entry
        for group in groups.values()
        for place, entry in enumerate(group)
        if any(entry.get("segmentation") == before.get("segmentation") for before in group[:place])
    ]

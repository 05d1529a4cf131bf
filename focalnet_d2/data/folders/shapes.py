"""The pieces that an object is drawn with, and the box, area and mask that they make."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as mask_codec

from ..annotations.masks import Size, compressed

Polygon = list[float]  # x, y, x, y, ... in pixels
Corners = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels from 0
Pixels = tuple[np.ndarray, int, int]  # (h, w) bool, and the column and row of its first pixel in the image
Heard = Callable[[int, str], None]

_ELLIPSE_CORNERS = 72  # of a radius of 100 pixels no point is more than 0.1 pixel off; a multiple of 4 keeps the box


@dataclass
class Shapes:
    """The pieces of one object, one at least.

    Boxes count only where nothing else says the outline. Boxes and polygons stay as they are drawn; where one piece is
    a bitmap, all become pixels.
    """

    boxes: list[Corners] = field(default_factory=list)
    polygons: list[Polygon] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)

    @property
    def has_outline(self) -> bool:
        """Whether the object has a mask."""
        return bool(self.polygons or self.pixels)

    def entry(self, size: Size) -> dict[str, Any]:
        """`bbox` and `area`, and `segmentation` of an outline, as COCO has them.

        Args:
            size: of the image.
        """
        if self.pixels:
            return self._of_pixels(size)
        if self.polygons:
            corners = box_around(np.concatenate([_points(polygon) for polygon in self.polygons]))
            area = sum(_area(_points(polygon)) for polygon in self.polygons)
            return {"bbox": _xywh(corners), "area": area, "segmentation": self.polygons}
        xs, ys = (
            [float(side) for box in self.boxes for side in box[first::2]] for first in (0, 1)
        )  # faster than numpy
        x, y, width, height = _xywh((min(xs), min(ys), max(xs), max(ys)))
        return {"bbox": [x, y, width, height], "area": width * height}

    def _of_pixels(self, size: Size) -> dict[str, Any]:
        """Box around the pixels in the image, their number, and run lengths."""
        mask = np.zeros(size, dtype=np.uint8)
        if self.polygons:
            mask |= mask_codec.decode(mask_codec.merge(compressed(self.polygons, size)))
        for piece, left, top in self.pixels:
            _paste(mask, piece, left, top)
        runs: Any = mask_codec.encode(np.asfortranarray(mask))
        return {
            "bbox": mask_codec.toBbox(runs).tolist(),
            "area": int(mask_codec.area(runs)),
            "segmentation": {"size": list(size), "counts": runs["counts"].decode("ascii")},
        }


@dataclass(frozen=True)
class Piece:
    """One shape of a file.

    Attributes:
        place: in its file or image, from 1.
        label: name of its class.
        group: shapes of one label and one group are one object; None: an object of its own.
        draw: adds it to its object; raises ValueError with a phrase where it is no shape.
    """

    place: int
    label: str
    group: int | str | None
    draw: Callable[[Shapes], None]


def objects_of(pieces: Iterable[Piece], heard: Heard = lambda place, problem: None) -> dict[tuple[str, int], Shapes]:
    """Objects by their label and the place of their first piece.

    Args:
        heard: gets the place of a piece that is no shape, and a phrase that says why.
    """
    objects: dict[tuple[str, int], Shapes] = {}
    groups: dict[tuple[str, int | str | None], int] = {}
    for piece in pieces:
        group = (piece.label, piece.group)
        first = piece.place if piece.group is None else groups.setdefault(group, piece.place)
        try:
            piece.draw(objects.setdefault((piece.label, first), Shapes()))
        except ValueError as error:
            heard(piece.place, str(error))
    return {key: shapes for key, shapes in objects.items() if shapes.boxes or shapes.has_outline}


def box_around(points: Iterable[Sequence[float]]) -> Corners:
    """The upright box around x, y of one point or more."""
    columns = np.asarray(list(points), dtype=np.float64)
    x0, y0 = columns.min(axis=0).tolist()
    x1, y1 = columns.max(axis=0).tolist()
    return x0, y0, x1, y1


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> Polygon:
    """A polygon along an ellipse around x, y, turned clockwise as it is seen."""
    angles = np.arange(_ELLIPSE_CORNERS) * (2 * math.pi / _ELLIPSE_CORNERS)
    points = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1)
    return turned(points + np.array([x, y]), (x, y), degrees).ravel().tolist()


def turned(points: np.ndarray, center: tuple[float, float], degrees: float) -> np.ndarray:
    """(N, 2) points x, y turned around a center, clockwise as it is seen, since y points down."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return (points - center) @ np.array([[cosine, sine], [-sine, cosine]]) + center


def _points(polygon: Polygon) -> np.ndarray:
    return np.reshape(polygon, (-1, 2)).astype(np.float64)


def _xywh(corners: Corners) -> list[float]:
    x0, y0, x1, y1 = corners
    return [x0, y0, x1 - x0, y1 - y0]


def _area(points: np.ndarray) -> float:
    """Of what the corners (N, 2) enclose."""
    after = np.roll(points, -1, axis=0)
    return float(abs((points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]).sum()) / 2)


def _paste(mask: np.ndarray, piece: np.ndarray, left: int, top: int) -> None:
    """Adds the pixels of a piece that lie in the mask."""
    height, width = mask.shape
    first_row, first_column = max(-top, 0), max(-left, 0)
    inside = piece[first_row : max(height - top, 0), first_column : max(width - left, 0)]
    row, column = top + first_row, left + first_column
    mask[row : row + inside.shape[0], column : column + inside.shape[1]] |= inside.astype(np.uint8)

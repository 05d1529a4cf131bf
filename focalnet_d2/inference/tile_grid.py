"""Where the tiles of a large image lie, and how much each counts where they overlap.

Shapes: h x w pixels of a tile.
"""

import math
from typing import NamedTuple

import numpy as np

PREFERENCE = 1e-3  # of a vote: how much more the middle of a tile counts than its edges


class Tile(NamedTuple):
    """A rectangle of an image, in pixels; `bottom` and `right` are behind its last row and column."""

    top: int
    left: int
    bottom: int
    right: int

    def overlap(self, other: "Tile") -> "Tile | None":
        """What two tiles share."""
        shared = Tile(*map(max, self[:2], other[:2]), *map(min, self[2:], other[2:]))
        return shared if shared.top < shared.bottom and shared.left < shared.right else None


def tile_grid(size: tuple[int, int], tile: int, overlap: int) -> list[list[Tile]]:
    """Rows of square tiles that cover an image, evenly spaced.

    Args:
        size: (height, width) of the image; a side shorter than a tile makes that side of the tiles shorter.
        tile: side of a tile in pixels.
        overlap: pixels that neighbors share at least.

    Raises:
        ValueError: a tile or an overlap that makes no grid.
    """
    if tile < 1 or not 0 <= overlap <= tile // 2:
        raise ValueError(
            f"Tiles of {tile} pixels that overlap by {overlap} make no grid: 0 to half a tile may overlap."
        )
    rows, columns = (_spans(length, tile, overlap) for length in size)
    return [[Tile(top, left, bottom, right) for left, right in columns] for top, bottom in rows]


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    if length <= tile:
        return [(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    starts = np.linspace(0, length - tile, count).round().astype(int).tolist()
    return [(start, start + tile) for start in starts]


def tile_weights(tile: Tile, size: tuple[int, int], part: Tile | None = None) -> np.ndarray:
    """(h, w) float32: 1 and, in the middle of a tile, up to `PREFERENCE` more.

    What is added grows with the distance to the nearest edge of the tile that is not one of the image. It decides among
    equals only: networks are nearly as right at an edge as in the middle of a tile, and what they say about their
    sureness tells more (`tools/measure_tiles.py`).

    Args:
        size: (H, W) of the image.
        part: of the tile, whose pixels alone are asked for; None: all of them.
    """
    part = part or tile
    rows = _edge_distance(np.arange(part.top, part.bottom), tile.top, tile.bottom, size[0])
    columns = _edge_distance(np.arange(part.left, part.right), tile.left, tile.right, size[1])
    most = max(tile.bottom - tile.top, tile.right - tile.left)
    return (1 + PREFERENCE * np.minimum(np.minimum(rows[:, None], columns[None]), most) / most).astype(np.float32)


def _edge_distance(places: np.ndarray, start: int, stop: int, length: int) -> np.ndarray:
    """(N,) pixels from places of a tile to its nearer edge that is not one of the image."""
    before = places - start + 1 if start else np.full(len(places), np.inf)
    behind = stop - places if stop < length else np.full(len(places), np.inf)
    return np.minimum(before, behind)

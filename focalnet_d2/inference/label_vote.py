"""One label for every pixel of an image from the label maps of overlapping tiles.

The tiles that cover a pixel vote, each with its weight there. Rows that no later tile reaches are decided and their
maps are let go, so that a few rows of tiles are in memory at a time.

Shapes: H x W pixels of the image, h x w of a tile or a part of it.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .tile_grid import Tile, tile_weights


class LabelVote:
    """Collects label maps, row after row of tiles.

    Args:
        size: (H, W) of the image.

    Attributes:
        labels: (H, W) int16; complete after `finish`. Label 0 is none; it wins only where every vote is for it.
    """

    def __init__(self, size: tuple[int, int]):
        self.labels = np.zeros(size, np.int16)
        self._size = size
        self._decided = 0  # rows
        self._open: list[tuple[Tile, np.ndarray]] = []

    def add(self, tile: Tile, labels: np.ndarray) -> None:
        """Take the vote (h, w) of a tile; the rows above its first one are decided."""
        self._decide(tile.top)
        self._open.append((tile, labels.astype(np.int16)))

    def finish(self) -> np.ndarray:
        """Decide what is left: (H, W) int16."""
        self._decide(self.labels.shape[0])
        return self.labels

    def _decide(self, until: int) -> None:
        """Decide the rows down to `until`, in cells that the same tiles cover."""
        if until <= self._decided:
            return
        edges = {edge for tile, _ in self._open for edge in (tile.top, tile.bottom)}
        cuts = sorted({self._decided, until} | {edge for edge in edges if self._decided < edge < until})
        for top, bottom in pairwise(cuts):
            covering = [entry for entry in self._open if entry[0].top <= top and entry[0].bottom >= bottom]
            columns = sorted({edge for tile, _ in covering for edge in (tile.left, tile.right)})
            for left, right in pairwise(columns):
                cell = Tile(top, left, bottom, right)
                self.labels[top:bottom, left:right] = self._winner(cell, covering)
        self._decided = until
        self._open = [entry for entry in self._open if entry[0].bottom > until]

    def _winner(self, cell: Tile, covering: Sequence[tuple[Tile, np.ndarray]]) -> np.ndarray:
        """(h, w) labels of a cell: those with the largest sum of weights; of equals the one of the earlier tile."""
        entries = [(tile, labels) for tile, labels in covering if tile.left <= cell.left and tile.right >= cell.right]
        labels = np.stack([_part(labels, tile, cell) for tile, labels in entries])  # (tiles, h, w)
        if len(labels) == 1:
            return labels[0]
        weights = np.stack([tile_weights(tile, self._size, cell) for tile, _ in entries])
        weights = np.where(labels == 0, 0, weights)
        votes = np.stack([((labels == own) * weights).sum(0) for own in labels])  # (tiles, h, w)
        return np.take_along_axis(labels, votes.argmax(0)[None], 0)[0]


def _part(array: np.ndarray, tile: Tile, cell: Tile) -> np.ndarray:
    """What an array (h, w) of a tile has in a cell."""
    return array[cell.top - tile.top : cell.bottom - tile.top, cell.left - tile.left : cell.right - tile.left]

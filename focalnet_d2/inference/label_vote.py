"""One label for every pixel of an image from the label maps of overlapping tiles.

The tiles that cover a pixel vote. A vote counts as much as its tile is sure of the label, and of equals that tile wins
which sees more around the pixel. Rows that no later tile reaches are decided and their maps are let go, so that a few
rows of tiles are in memory at a time.

Shapes: H x W pixels of the image, h x w of a tile or a part of it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .tile_grid import Tile, tile_weights


class _Ballot(NamedTuple):
    """What a tile says: (h, w) int16 labels, and (L,) float32, how sure it is of each label, or None."""

    tile: Tile
    labels: np.ndarray
    scores: np.ndarray | None


class LabelVote:
    """Collects label maps, row after row of tiles.

    Args:
        size: (H, W) of the image.
        dtype: of the result.

    Attributes:
        labels: (H, W); complete after `finish`. Label 0 is none; it wins only where every vote is for it.
    """

    def __init__(self, size: tuple[int, int], dtype: DTypeLike = np.int16):
        self.labels = np.zeros(size, dtype)
        self._size = size
        self._decided = 0  # rows
        self._open: list[_Ballot] = []

    def add(self, tile: Tile, labels: np.ndarray, scores: np.ndarray | None = None) -> None:
        """Take the vote (h, w) of a tile; the rows above its first one are decided.

        Args:
            scores: (L,) above 0 for each label of the tile, how sure it is of that; None: equally of all.
        """
        self._decide(tile.top)
        self._open.append(_Ballot(tile, labels.astype(np.int16), scores))

    def finish(self) -> np.ndarray:
        """Decide what is left: (H, W)."""
        self._decide(self.labels.shape[0])
        return self.labels

    def _decide(self, until: int) -> None:
        """Decide the rows down to `until`, in cells that the same tiles cover."""
        if until <= self._decided:
            return
        edges = {edge for one in self._open for edge in (one.tile.top, one.tile.bottom)}
        cuts = sorted({self._decided, until} | {edge for edge in edges if self._decided < edge < until})
        for top, bottom in pairwise(cuts):
            covering = [one for one in self._open if one.tile.top <= top and one.tile.bottom >= bottom]
            columns = sorted({edge for one in covering for edge in (one.tile.left, one.tile.right)})
            for left, right in pairwise(columns):
                cell = Tile(top, left, bottom, right)
                self.labels[top:bottom, left:right] = self._winner(cell, covering)
        self._decided = until
        self._open = [one for one in self._open if one.tile.bottom > until]

    def _winner(self, cell: Tile, covering: Sequence[_Ballot]) -> np.ndarray:
        """(h, w) labels of a cell: those with the largest sum of votes; of equals the one of the earlier tile."""
        ballots = [one for one in covering if one.tile.left <= cell.left and one.tile.right >= cell.right]
        labels = np.stack([_part(one.labels, one.tile, cell) for one in ballots])  # (tiles, h, w)
        if len(labels) == 1:
            return labels[0]
        weights = np.stack([tile_weights(one.tile, self._size, cell) for one in ballots])
        for weight, own, one in zip(weights, labels, ballots, strict=True):
            weight *= (own > 0) if one.scores is None else np.where(own > 0, one.scores[own], 0)
        votes = np.stack([((labels == own) * weights).sum(0) for own in labels])  # (tiles, h, w)
        return np.take_along_axis(labels, votes.argmax(0)[None], 0)[0]


def _part(array: np.ndarray, tile: Tile, cell: Tile) -> np.ndarray:
    """What an array (h, w) of a tile has in a cell."""
    return array[cell.top - tile.top : cell.bottom - tile.top, cell.left - tile.left : cell.right - tile.left]

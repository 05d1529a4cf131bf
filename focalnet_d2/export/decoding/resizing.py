"""Maps at another size, a few rows at a time: bilinear, corners not aligned, as torch's `interpolate` has it.

Both axes of a bilinear resize are linear and independent, so each is a matrix with few values in a row that are not 0,
and several resizes and cuts of an axis are one matrix. Maps have their rows first: rows of the result are then one
small product of matrices.

Shapes: C maps of h x w pixels; R rows of the result are made at once, W columns.
"""

from collections.abc import Iterator

import numpy as np

from ..result import Sizes

_TILE_BYTES = 2**22  # of the maps of a tile, roughly, which then stay in the processor's cache
_TILE_ROWS = 32  # at most: a product for more rows multiplies more zeros
_COLUMNS_AT_ONCE = 32


class ResizedAxis:
    """One axis of maps and what each of its N resized points is made of.

    Args:
        weights: (N, n) shares of the n points, for each a few neighbors that do not go back from one to the next.
    """

    def __init__(self, weights: np.ndarray):
        self.weights = weights
        used = weights != 0
        self._first = used.argmax(1)
        self._stop = weights.shape[1] - used[:, ::-1].argmax(1)

    def __len__(self) -> int:
        return len(self.weights)

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """First and last + 1 of the points that the resized points start..stop - 1 are made of."""
        return int(self._first[start]), int(self._stop[stop - 1])

    def then(self, other: "ResizedAxis") -> "ResizedAxis":
        """This resize and another one after it, as one."""
        rows = [other.weights[i : i + 1, slice(*other.span(i, i + 1))] for i in range(len(other))]
        spans = [slice(*other.span(i, i + 1)) for i in range(len(other))]
        return ResizedAxis(np.concatenate([row @ self.weights[span] for row, span in zip(rows, spans, strict=True)]))

    def rows(self, maps: np.ndarray, start: int, stop: int, first: int = 0) -> np.ndarray:
        """Rows start..stop - 1 of the result: (., C, w), of which the first is row `first` of the maps -> (R, C, w)."""
        low, high = self.span(start, stop)
        needed = maps[low - first : high - first]
        product = self.weights[start:stop, low:high] @ needed.reshape(len(needed), -1)  # (R, C * w)
        return product.reshape(stop - start, *maps.shape[1:])

    def columns(self, maps: np.ndarray) -> np.ndarray:
        """All columns: (R, C, w) -> (R, C, W)."""
        resized = np.empty((*maps.shape[:2], len(self)), np.float32)
        flat, target = maps.reshape(-1, maps.shape[2]), resized.reshape(-1, len(self))
        for start in range(0, len(self), _COLUMNS_AT_ONCE):
            stop = min(start + _COLUMNS_AT_ONCE, len(self))
            low, high = self.span(start, stop)
            np.matmul(flat[:, low:high], self.weights[start:stop, low:high].T, out=target[:, start:stop])
        return resized


def resize_axis(size_in: int, size_out: int, keep: int | None = None) -> ResizedAxis:
    """An axis of `size_in` points resized to `size_out`, of which the first `keep` stay.

    Positions are float32, as torch computes them.
    """
    points = np.arange(size_out if keep is None else keep)
    position = (points.astype(np.float32) + np.float32(0.5)) * (np.float32(size_in) / np.float32(size_out))
    position = np.maximum(position - np.float32(0.5), 0)
    below = np.minimum(position.astype(np.int64), size_in - 1)
    share = np.minimum(position - below, 1)  # of the point above
    weights = np.zeros((len(points), size_in), np.float32)
    weights[points, below] = 1 - share
    weights[points, np.minimum(below + 1, size_in - 1)] += share
    return ResizedAxis(weights)


def tiles(height: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """First row and end of each tile of `height` rows that take `row_bytes` each in all maps together."""
    rows = min(max(1, _TILE_BYTES // row_bytes), _TILE_ROWS)
    return ((start, min(start + rows, height)) for start in range(0, height, rows))


class MaskGrid:
    """From the pixels of mask logits to those of the network's input, of the image in it, and of the result.

    Args:
        size: (h, w) of the logits, which cover the padded input.
        sizes: of the padded input, the image and the result.
    """

    def __init__(self, size: tuple[int, int], sizes: Sizes):
        self.to_image = tuple(
            resize_axis(*sides) for sides in zip(size, sizes.padded, sizes.image, strict=True)
        )  # rows, columns
        self.to_output = tuple(resize_axis(*sides) for sides in zip(sizes.image, sizes.output, strict=True))
        if sizes.image == sizes.output:
            self._rows, self._columns = self.to_image
        else:
            self._rows, self._columns = (
                first.then(second) for first, second in zip(self.to_image, self.to_output, strict=True)
            )

    def output_rows(self, maps: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Rows of the result: (h, C, w) -> (R, C, W)."""
        low, high = self._rows.span(start, stop)
        return self._rows.rows(self._columns.columns(maps[low:high]), start, stop, low)

"""Polygons that cross themselves so that nobody can tell what is inside."""

import math

import numpy as np


def shoelace_area(polygon: np.ndarray) -> float:
    """Area within a closed polygon (N, 2) that does not cross itself; loops that turn the other way count negative."""
    x, y = (polygon - polygon[0]).T  # near 0, where nothing is rounded away; the first and last side add nothing
    return 0.5 * abs(float(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:])))


def perimeter(polygon: np.ndarray) -> float:
    """Length of a closed polygon (N, 2)."""
    corners = polygon.tolist()  # of few corners, faster than numpy
    return sum(map(math.dist, corners, [*corners[1:], corners[0]]))


def crosses_itself(polygon: np.ndarray) -> bool:
    """Whether two sides of a closed polygon (N, 2) cross; sides that only touch do not."""
    starts = polygon.astype(np.float64)  # (N, 2)
    ends = np.roll(starts, -1, axis=0)
    for index in range(len(starts) - 2):
        others = slice(index + 2, None)  # later ones but for the next, which shares a corner with this one
        a, b, c, d = starts[index], ends[index], starts[others], ends[others]
        apart_cd = _side(a, b, c) * _side(a, b, d) < 0  # c and d lie on two sides of this side
        apart_ab = _side(c, d, a) * _side(c, d, b) < 0
        if (apart_cd & apart_ab).any():
            return True
    return False


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Sign of the side of a line on which points lie, -1, 0 or 1; lines and points (2,) or (N, 2)."""
    line, to_point = end - start, point - start
    return np.sign(line[..., 0] * to_point[..., 1] - line[..., 1] * to_point[..., 0])

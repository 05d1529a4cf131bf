"""Outlines of the things in the generated images, as signed distances.

Every shape is a function of (x, y) in its own frame, about one unit in radius, y downwards. It returns the
distance to the outline, negative inside, so that one array gives the mask, a soft edge, the shading and the
shadow. Only
additions, products and square roots touch the pixels: those are exact in IEEE arithmetic and give the same
bytes with every numpy release.
"""

import math
from collections.abc import Callable

import numpy as np

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


def disk(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a disk of radius 0.95, negative inside: x and y of one shape -> that shape."""
    return np.sqrt(x * x + y * y) - 0.95


def ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a ring of radii 0.49 and 0.99, negative inside: x and y of one shape -> that shape."""
    return np.abs(np.sqrt(x * x + y * y) - 0.74) - 0.25


def box_distance(x: np.ndarray, y: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """Signed distance to an axis-aligned rectangle around the origin: x and y of one shape -> that shape."""
    dx, dy = np.abs(x) - half_width, np.abs(y) - half_height
    outside_x, outside_y = np.maximum(dx, 0), np.maximum(dy, 0)
    return np.sqrt(outside_x * outside_x + outside_y * outside_y) + np.minimum(np.maximum(dx, dy), 0)


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a square with round corners, negative inside: x and y of one shape -> that shape."""
    return box_distance(x, y, 0.7, 0.7) - 0.1


def cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a cross with round corners, negative inside: x and y of one shape -> that shape."""
    return np.minimum(box_distance(x, y, 0.95, 0.27), box_distance(x, y, 0.27, 0.95)) - 0.05


def pill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a lying pill, negative inside: x and y of one shape -> that shape."""
    return box_distance(x, y, 0.6, 0.0) - 0.4


def moon(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a moon, x and y of one shape -> that shape.

    The moon is a disk of radius 0.95 less one of 0.72 half a unit to the right; beyond the horns their tips count.
    """
    outer, inner, shift = 0.95, 0.72, 0.5
    tip_x = (outer**2 - inner**2 + shift**2) / (2 * shift)
    tip_y = math.sqrt(outer**2 - tip_x**2)
    y = np.abs(y)
    to_tip = np.sqrt((x - tip_x) * (x - tip_x) + (y - tip_y) * (y - tip_y))
    bite = np.sqrt((x - shift) * (x - shift) + y * y) - inner
    beyond = x * tip_y - y * tip_x > shift * np.maximum(tip_y - y, 0)
    return np.where(beyond, to_tip, np.maximum(np.sqrt(x * x + y * y) - outer, -bite))


def flower(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a flower, x and y of one shape -> that shape.

    It has six petals: radius 0.74 + 0.2 cos(6 angle), the cosine as a polynomial of cos(angle).
    """
    radius = np.sqrt(x * x + y * y)
    cosine = x / np.maximum(radius, 1e-6)
    square_cosine = cosine * cosine
    petals = square_cosine * (square_cosine * (32 * square_cosine - 48) + 18) - 1
    return (radius - 0.74 - 0.2 * petals) * 0.7


def polygon_distance(x: np.ndarray, y: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Signed distance to a closed polygon.

    Args:
        vertices: (N, 2) corners as (x, y), either direction of travel.
    """
    squared = np.full(x.shape, np.inf, x.dtype)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(vertices.tolist(), np.roll(vertices, -1, axis=0).tolist(), strict=True):
        edge_x, edge_y = bx - ax, by - ay
        length = edge_x * edge_x + edge_y * edge_y
        along = np.clip(((x - ax) * edge_x + (y - ay) * edge_y) * (1 / length), 0, 1)
        off_x, off_y = x - ax - along * edge_x, y - ay - along * edge_y
        squared = np.minimum(squared, off_x * off_x + off_y * off_y)
        if ay != by:
            crossed = (y >= min(ay, by)) & (y < max(ay, by))
            inside ^= crossed & (x < ax + (y - ay) * (edge_x / edge_y))
    return np.where(inside, -np.sqrt(squared), np.sqrt(squared))


def _spokes(radii: list[float]) -> np.ndarray:
    """Corners at equal angles, the first one on top: N radii -> (N, 2)."""
    angles = [2 * math.pi * i / len(radii) for i in range(len(radii))]
    return np.array([(r * math.sin(a), -r * math.cos(a)) for r, a in zip(radii, angles, strict=True)])


def _heart_outline(count: int = 22) -> np.ndarray:
    angles = [2 * math.pi * (i + 0.5) / count for i in range(count)]
    return np.array(
        [
            (
                0.95 * math.sin(a) ** 3,
                -(13 * math.cos(a) - 5 * math.cos(2 * a) - 2 * math.cos(3 * a) - math.cos(4 * a)) / 17 - 0.1,
            )
            for a in angles
        ]
    )


_TRIANGLE = _spokes([1.0] * 3)
_STAR = _spokes([1.08, 0.46] * 5)
_HEART = _heart_outline()
_ARROW = np.array([(0.0, -1.0), (0.78, -0.1), (0.32, -0.1), (0.32, 0.95), (-0.32, 0.95), (-0.32, -0.1), (-0.78, -0.1)])
_BOLT = np.array([(0.25, -1.05), (-0.6, 0.15), (-0.08, 0.15), (-0.25, 1.05), (0.62, -0.22), (0.08, -0.22)])


def triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a triangle with round corners, negative inside: x and y of one shape -> that shape."""
    return polygon_distance(x, y - 0.12, _TRIANGLE) - 0.07


def star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a star with five points, negative inside: x and y of one shape -> that shape."""
    return polygon_distance(x, y, _STAR)


def heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a heart, negative inside: x and y of one shape -> that shape."""
    return polygon_distance(x, y, _HEART)


def arrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to an arrow that points up, negative inside: x and y of one shape -> that shape."""
    return polygon_distance(x, y, _ARROW) - 0.03


def bolt(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Signed distance to a flash of lightning, negative inside: x and y of one shape -> that shape."""
    return polygon_distance(x, y, _BOLT) - 0.04


SHAPES: dict[str, Distance] = {
    shape.__name__: shape
    for shape in (disk, ring, square, triangle, star, cross, moon, pill, heart, arrow, bolt, flower)
}

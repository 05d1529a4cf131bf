"""Means over the cells of a grid that is laid over a map, whatever the map's size.

Shapes: B images, C channels, h x w map, n x n cells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import Computation, Implementation


def _by_torch(maps: Tensor, cells: int) -> Tensor:
    """(B, C, h, w) -> (B, C, n, n)."""
    return F.adaptive_avg_pool2d(maps, cells)


def _by_two_products(maps: Tensor, cells: int) -> Tensor:
    """(B, C, h, w) -> (B, C, n, n): exported graphs have no pooling whose windows depend on the size of the map."""
    rows, columns = (_shares(side, cells, maps) for side in maps.shape[-2:])  # (n, h) and (n, w)
    return rows @ maps @ columns.T


def _shares(side: int, cells: int, like: Tensor) -> Tensor:
    """(n, side): each cell's mean as weights of the positions; neighbors share a position that lies in both."""
    cell = torch.arange(cells, device=like.device)[:, None]
    start = torch.div(cell * side, cells, rounding_mode="floor")
    stop = torch.div((cell + 1) * side + cells - 1, cells, rounding_mode="floor")
    position = torch.arange(side, device=like.device)
    inside = (position >= start) & (position < stop)
    return inside.to(like.dtype) / (stop - start).to(like.dtype)


AVERAGE_POOL = Computation(
    "average pooling",
    (
        Implementation("torch", _by_torch, "adaptive_avg_pool2d"),
        Implementation("two_products", _by_two_products, "two matrix products, for exported graphs"),
    ),
)


def average_pool(maps: Tensor, cells: int) -> Tensor:
    """Means over a grid of cells, which overlap where their number does not divide the side: -> (B, C, n, n).

    Args:
        maps: (B, C, h, w).
        cells: n of each side.
    """
    return AVERAGE_POOL.choose(maps.device.type, maps.dtype).compute(maps, cells)

"""Bilinear reading of maps at points, and the choice of points that are worth a loss (PointRend, arXiv:1912.08193).

Points are (x, y) in [0, 1] over a map; outside of it everything is zero.

Shapes: M maps, C channels, P points.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DrawPoints = Callable[[int, int, Tensor], Tensor]  # (M, P, like) -> (M, P, 2) of like's device and type


def uniform_points(count: int, num_points: int, like: Tensor) -> Tensor:
    """Points drawn uniformly, (count, num_points, 2)."""
    return torch.rand(count, num_points, 2, device=like.device, dtype=like.dtype)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """(M, C, h, w), (M, P, 2) -> (M, C, P), differentiable in the maps."""
    grid = 2 * points[:, None] - 1  # (M, 1, P, 2)
    return F.grid_sample(maps, grid.to(maps.dtype), align_corners=False)[:, :, 0]


def sample_masks(masks: Tensor, points: Tensor, padded_size: Sequence[int], rows: Tensor | None = None) -> Tensor:
    """Values of boolean masks at points; one mask at a time is copied to the points' type.

    Args:
        masks: (M, h, w) bool, the upper left part of a padded map whose rest is False.
        points: (R, P, 2), or (1, P, 2) for all of them; over the padded map.
        padded_size: (H, W).
        rows: (R,) masks that are read; default: all in their order.

    Returns:
        (R, P) in [0, 1], type of the points.
    """
    height, width = masks.shape[-2:]
    rows = torch.arange(len(masks), device=masks.device) if rows is None else rows
    points = points * points.new_tensor([padded_size[1] / width, padded_size[0] / height])  # over the masks themselves
    points = points.expand(len(rows), -1, -1)
    values = points.new_empty(points.shape[:2])
    present, counts = (part.tolist() for part in rows.unique(return_counts=True))
    for row, indices in zip(present, rows.argsort().split(counts), strict=True):
        sampled = sample_points(masks[row, None, None].to(points.dtype), points[indices].flatten(0, 1)[None])
        values[indices] = sampled.view(len(indices), -1)
    return values


@torch.no_grad()
def select_uncertain_points(mask_logits: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The candidates where a mask is closest to undecided: (M, h, w) logits, (M, P, 2), -> (M, count, 2)."""
    margin = sample_points(mask_logits[:, None], candidates)[:, 0].abs()  # (M, P)
    chosen = margin.topk(count, dim=1, largest=False, sorted=False).indices
    return candidates.gather(1, chosen[..., None].expand(-1, -1, 2))

"""Candidates of ATSS in a number that does not depend on the size of the image, as exported graphs need them.

Shapes: B images, N cells of a level, K classes, k candidates.
"""

import torch
from torch import Tensor

from .criterion import DELTAS
from .head import DensePredictions


def best_cells(level: DensePredictions, anchors: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` best cells of a level: boxes (B, k, 4), class probabilities (B, k, K), centerness (B, k) in [0, 1].

    Args:
        level: predictions of a level.
        anchors: (N, 4) XYXY pixels.
        count: candidates k; where the level has fewer cells, the rest has probability 0.
    """
    scores, quality = level.logits.sigmoid(), level.centerness.sigmoid()
    best = (scores * quality[..., None]).amax(2)  # (B, N)
    filled = torch.cat([best, best.new_full((best.shape[0], count), -1.0)], dim=1)  # (B, N + k)
    found, chosen = filled.topk(count, dim=1)
    there = found >= 0  # (B, k)
    chosen = chosen.where(there, 0)
    scores = take(scores, chosen) * there[..., None]
    deltas, anchors = take(level.deltas, chosen), anchors[chosen]  # (B, k, 4) both
    boxes = DELTAS.apply_deltas(deltas.flatten(0, 1), anchors.flatten(0, 1)).reshape(deltas.shape)
    return boxes, scores, quality.gather(1, chosen)


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Some rows of each image: (B, N, C) and (B, k) -> (B, k, C)."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[2]))

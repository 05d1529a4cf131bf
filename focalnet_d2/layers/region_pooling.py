"""Detectron2's `ROIPooler` with the tensors of a whole batch, for exported graphs: no shape depends on the boxes.

Shapes: B images, N boxes of each, C channels, S x S positions of a region, L levels.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor


def pool(pooler: Any, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """What Detectron2's `ROIPooler` gives: L x (B, C, H_l, W_l) and boxes (B, N, 4) -> (B * N, C, S, S).

    Every level pools all boxes, but those of other levels as points, which costs it next to nothing.
    """
    images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)  # (B,)
    images = images[:, None, None].expand(-1, boxes.shape[1], 1)
    regions = torch.cat([images, boxes], dim=2).flatten(0, 1)  # (B * N, 5)
    level_of_box = assign_levels(pooler, regions[:, 1:])[:, None]  # (B * N, 1)
    kept = torch.cat([torch.ones_like(regions[:1, :1]), torch.zeros_like(regions[:1, 1:])], dim=1)  # (1, 5)
    pooled = None
    for level, (align, features) in enumerate(zip(cast(Iterable[Any], pooler.level_poolers), maps, strict=True)):
        own = level_of_box == level
        found = align(features.float(), torch.where(own, regions, regions * kept))
        pooled = found if pooled is None else torch.where(own[..., None, None], found, pooled)
    assert pooled is not None
    return pooled


def assign_levels(pooler: Any, boxes: Tensor) -> Tensor:
    """The level of each box, as equation 1 of arXiv:1612.03144 says: (N, 4) XYXY -> (N,) int64, 0 for the finest."""
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    levels = torch.zeros_like(sides, dtype=torch.int64)
    for level in range(pooler.min_level + 1, pooler.max_level + 1):
        levels = levels + (sides >= pooler.canonical_box_size * 2.0 ** (level - pooler.canonical_level)).long()
    return levels

"""Region proposals in a fixed number, with the tensors of a whole batch, as exported graphs need them.

Shapes: B images, L levels, A anchors of a cell, N anchors of a level, k candidates of a level, P proposals.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .exported_suppression import unsuppressed


class Proposals(NamedTuple):
    """Boxes of a fixed number, best first.

    Attributes:
        boxes: (B, P, 4) XYXY pixels within the image, zeros where there is none.
        valid: (B, P) bool: whether there is one.
    """

    boxes: Tensor
    valid: Tensor


def propose(generator: Any, features: dict[str, Tensor], limits: Tensor) -> Proposals:
    """What Detectron2's region proposal network proposes in evaluation.

    Args:
        generator: `RegionProposals`.
        features: (B, C, H_l, W_l) by their names.
        limits: (B, 1, 4), the largest coordinates XYXY within each image.
    """
    maps = [features[name] for name in generator.in_features]
    logits, deltas = generator.rpn_head(maps)
    levels = [
        _candidates(generator, *level, limits)
        for level in zip(logits, deltas, cell_anchors(generator.anchor_generator, maps), strict=True)
    ]
    boxes, scores = (torch.stack(part, dim=1) for part in zip(*levels, strict=True))  # (B, L, k, 4), (B, L, k)
    widths, heights = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
    valid = is_finite(boxes).all(-1) & is_finite(scores)
    valid = valid & (widths > generator.min_box_size) & (heights > generator.min_box_size)
    kept = unsuppressed(boxes.flatten(0, 1), valid.flatten(0, 1), generator.nms_thresh)  # (B * L, k)
    scores = scores.masked_fill(~kept.reshape(valid.shape), -torch.inf).flatten(1)  # (B, L * k)
    count = min(generator.post_nms_topk[False], generator.pre_nms_topk[False] * len(levels))
    best, chosen = scores.topk(count, dim=1)
    valid = best > -torch.inf
    return Proposals(take(boxes.flatten(1, 2), chosen).masked_fill(~valid[..., None], 0.0), valid)


def cell_anchors(generator: Any, maps: list[Tensor]) -> list[Tensor]:
    """(H_l * W_l * A, 4) XYXY pixels of each level, as Detectron2's `DefaultAnchorGenerator` makes them."""
    anchors = []
    for level, stride, shapes in zip(maps, generator.strides, generator.cell_anchors, strict=True):
        rows, columns = (
            (torch.arange(level.shape[axis], device=level.device) + generator.offset) * stride for axis in (2, 3)
        )
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        shifts = torch.stack([x, y, x, y], dim=-1).to(shapes.dtype).flatten(0, 1)  # (H_l * W_l, 4)
        anchors.append((shifts[:, None] + shapes).flatten(0, 1))
    return anchors


def take(values: Tensor, rows: Tensor) -> Tensor:
    """Some rows of each image: (B, N, C) and (B, k) -> (B, k, C)."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[2]))


def is_finite(values: Tensor) -> Tensor:
    """Neither infinite nor NaN: any shape -> bool of that shape."""
    return values.abs() < torch.inf


def clip(boxes: Tensor, limits: Tensor) -> Tensor:
    """Boxes (B, N, 4) XYXY whose corners are moved into the image; limits (B, 1, 4), the largest coordinates."""
    return torch.minimum(boxes.clamp(min=0), limits)


def _candidates(
    generator: Any, logits: Tensor, deltas: Tensor, anchors: Tensor, limits: Tensor
) -> tuple[Tensor, Tensor]:
    """The best boxes of a level, clipped (B, k, 4), and their scores (B, k), -inf where the level has no more boxes.

    The logits are (B, A, H, W), the deltas (B, 4 A, H, W).
    """
    batch, height, width = logits.shape[0], logits.shape[2], logits.shape[3]
    count = generator.pre_nms_topk[False]
    scores = logits.permute(0, 2, 3, 1).flatten(1).float()  # (B, N)
    scores, chosen = torch.cat([scores, scores.new_full((batch, count), -torch.inf)], dim=1).topk(count, dim=1)
    chosen = chosen.where(scores > -torch.inf, 0)  # (B, k)
    deltas = deltas.reshape(batch, -1, 4, height, width).permute(0, 3, 4, 1, 2).flatten(1, 3)  # (B, N, 4)
    deltas, anchors = take(deltas, chosen).flatten(0, 1), anchors[chosen].flatten(0, 1)  # (B * k, 4) both
    boxes = generator.box2box_transform.apply_deltas(deltas, anchors).reshape(batch, count, 4)
    return clip(boxes, limits), scores

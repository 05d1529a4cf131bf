"""Anchors of ATSS, and which of them learn which object (arXiv:1912.02424, section 4.1).

Shapes: N anchors of all levels, N_l of one, M objects.
"""

from collections.abc import Sequence

import torch
from detectron2.structures import Boxes, pairwise_iou
from torch import Tensor

from ..base import MM_DIVISOR

ANCHOR_SIZE = 8  # strides; mmdetection's octave_base_scale
NEIGHBORS = 9  # candidates of an object on each level
MARGIN = 0.01  # pixels that an anchor's centre lies inside its object


def square_anchors(size: tuple[int, int], stride: int, like: Tensor) -> Tensor:
    """One square of 8 strides for each cell of a map (h, w): (h * w, 4) xyxy pixels, row by row.

    As in mmdetection, centres are at multiples of the stride, without an offset of half a cell.
    """
    rows, columns = (torch.arange(n, dtype=like.dtype, device=like.device) * stride for n in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centers = torch.stack([x, y], dim=-1).flatten(0, 1)  # (h * w, 2)
    half = ANCHOR_SIZE * stride / 2
    return torch.cat([centers - half, centers + half], dim=-1)


def cells_of_images(
    size: tuple[int, int], stride: int, image_sizes: Sequence[tuple[int, int]], device: torch.device
) -> Tensor:
    """Which cells of a map (h, w) belong to an image, padded by itself, and not to the padding of the batch.

    Returns:
        (B, h * w) bool, row by row.
    """
    inside = torch.zeros(len(image_sizes), *size, dtype=torch.bool, device=device)
    for cells, image_size in zip(inside, image_sizes, strict=True):
        rows, columns = (-(-(-(-side // MM_DIVISOR) * MM_DIVISOR) // stride) for side in image_size)
        cells[:rows, :columns] = True
    return inside.flatten(1)


def box_centers(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) -> (..., 2)."""
    return (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2


def side_distances(points: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """How far points are from the left, top, right and bottom side, inside positive: (..., 2), (..., 4) -> (..., 4)."""
    return torch.cat([points - boxes_xyxy[..., :2], boxes_xyxy[..., 2:] - points], dim=-1)


def nearest_anchors(anchors: Sequence[Tensor], objects: Tensor) -> Tensor:
    """The anchors of each level whose centres are nearest to that of an object, 9 or all there are.

    Args:
        anchors: (N_l, 4) of each level.
        objects: (M, 4).

    Returns:
        (C, M) rows in the anchors of all levels, one level after the other.
    """
    chosen, first = [], 0
    for level in anchors:
        offsets = box_centers(level)[:, None] - box_centers(objects)[None]  # (N_l, M, 2)
        distances = offsets.square().sum(-1).sqrt()
        chosen.append(first + distances.topk(min(NEIGHBORS, len(level)), dim=0, largest=False).indices)
        first += len(level)
    return torch.cat(chosen)


@torch.no_grad()
def assign_anchors(anchors: Sequence[Tensor], objects: Tensor) -> Tensor:
    """Adaptive training sample selection.

    Of its nearest anchors an object takes those whose IoU reaches the mean plus the standard deviation of all of them
    and whose centre lies inside it. An anchor that several objects take goes to the one with the highest IoU.

    Args:
        anchors: (N_l, 4) xyxy pixels of each level.
        objects: (M, 4) xyxy pixels.

    Returns:
        (N,) index of the object of each anchor, -1 for none.
    """
    all_anchors = torch.cat(list(anchors))
    if len(objects) == 0:
        return torch.full((len(all_anchors),), -1, device=all_anchors.device)
    candidates = nearest_anchors(anchors, objects)  # (C, M)
    iou = pairwise_iou(Boxes(all_anchors), Boxes(objects))  # (N, M)
    overlaps = iou.gather(0, candidates)  # (C, M)
    threshold = overlaps.mean(0) + overlaps.std(0)  # (M,)
    inside = side_distances(box_centers(all_anchors)[candidates], objects).amin(-1) > MARGIN  # (C, M)
    taken = torch.zeros_like(iou, dtype=torch.bool).scatter(0, candidates, (overlaps >= threshold) & inside)
    best, owner = iou.masked_fill(~taken, -1).max(dim=1)
    return owner.masked_fill(best < 0, -1)


def centerness(anchors: Tensor, objects: Tensor) -> Tensor:
    """How central an anchor's centre is in its object: (P, 4), (P, 4) -> (P,), 1 in the middle, 0 on a side.

    Source: arXiv:1904.01355 (FCOS), equation 3.
    """
    left, top, right, bottom = side_distances(box_centers(anchors), objects).unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    down = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (across * down).sqrt()

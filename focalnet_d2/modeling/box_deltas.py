"""Boxes as changes of other boxes: the centre moves by a share of the size, the size changes by a power of e."""

from collections.abc import Sequence

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes
from torch import Tensor


class BoxDeltas:
    """Detectron2's `Box2BoxTransform` with mmdetection's second limit: no side shrinks to less than 16/1000, either.

    Source: arXiv:1311.2524, appendix C.

    Args:
        weights: what the network's dx, dy, dw, dh are divided by; mmdetection's target stds are their inverses.
    """

    def __init__(self, weights: Sequence[float]):
        x, y, width, height = weights
        self.weights = (x, y, width, height)
        self.transform = Box2BoxTransform(self.weights)

    def get_deltas(self, boxes: Tensor, target_boxes: Tensor) -> Tensor:
        """Deltas (N, 4) that make target_boxes (N, 4) of boxes (N, 4), all XYXY."""
        return self.transform.get_deltas(boxes, target_boxes)

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (N, 4 k) on boxes (N, 4) XYXY -> (N, 4 k), float32."""
        smallest = -self.transform.scale_clamp
        lowest = [-torch.inf, -torch.inf, smallest * self.weights[2], smallest * self.weights[3]]
        four = deltas.float().reshape(deltas.shape[0], deltas.shape[1] // 4, 4)
        limited = torch.maximum(four, four.new_tensor(lowest))  # (N, k, 4)
        return self.transform.apply_deltas(limited.flatten(1), boxes)


def refine_boxes(boxes: Boxes, deltas: Tensor, classes: Tensor, transform: BoxDeltas, size: tuple[int, int]) -> Boxes:
    """Boxes changed by the deltas of one class each and clipped to the image.

    Args:
        boxes: N boxes, XYXY pixels.
        deltas: (N, 4 K), class by class.
        classes: (N,) class of each box.
        size: (h, w) of the image.
    """
    rows = torch.arange(len(boxes), device=classes.device)
    own = deltas.reshape(len(boxes), deltas.shape[1] // 4, 4)[rows, classes]  # (N, 4)
    refined = Boxes(transform.apply_deltas(own, boxes.tensor))
    refined.clip(size)
    return refined

"""How near its object a query is, in the class loss and in the class cost (Stable-DINO, arXiv:2304.13027, section 3).

A class score is then trained towards the overlap of the query's box with its object, and matching asks for queries
whose score and place are good together.

Shapes: S sets of predictions, B images, Q queries, P matched pairs, M objects of an image.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, generalized_box_iou

from .targets import Targets

Curve = Literal["none", "exp", "sin"]
_EPS = 1e-8


@dataclass
class PositionSupervision:
    """Targets of the class loss between 0 and 1, from the boxes that the queries predict (equation 2 there).

    A matched query's target is `score ** score_exponent * IoU ** iou_exponent`, bent by `curve`, and divided by the
    largest one of its image: the best query of each image is trained towards 1. Without a gradient.

    Attributes:
        score_exponent: exponent of the query's own score of its object's class.
        iou_exponent: exponent of the IoU of its box with the object's.
        curve: "exp" makes (e^t - 1) / (e - 1) of a target t, "sin" makes sin(pi t / 2) of it, before the division.
    """

    score_exponent: float = 0.0
    iou_exponent: float = 2.0
    curve: Curve = "none"

    def __post_init__(self) -> None:
        if self.curve not in ("none", "exp", "sin"):
            raise ValueError(f"curve is {self.curve!r}: type none, exp or sin.")

    @torch.no_grad()
    def targets(self, scores: Tensor, ious: Tensor, image: Tensor, num_images: int) -> Tensor:
        """Targets of the class loss of each pair.

        Args:
            scores: (P,) probability of the object's class; ious: (P,) of the query's box with the object's.
            image: (P,) int64, the image of each pair, counted over all sets: pairs of one number share a maximum.
            num_images: images of all sets.

        Returns:
            (P,) in [0, 1].
        """
        target = self._bend(scores**self.score_exponent * ious**self.iou_exponent)
        largest = target.new_zeros(num_images).scatter_reduce(0, image, target, "amax")
        return target * raised_to_one(largest)[image]

    def _bend(self, target: Tensor) -> Tensor:
        if self.curve == "exp":
            return target.expm1() / math.expm1(1.0)
        return (target * (math.pi / 2)).sin() if self.curve == "sin" else target


@dataclass
class PositionModulation:
    """Factors of the probabilities in the class cost, from the generalized IoU of query and object (equation 4 there).

    The factor of a pair is u ** `exponent` with u = (GIoU + 1) / 2, divided by the largest u of the image.

    Attributes:
        exponent: 0.5 as published.
        mode: "pairwise" takes the GIoU of each pair. "official" does what the published code does: it has one u for
            each query and class, that of the last object of the class in the batch, whatever its image, and takes the
            largest over the classes of the whole batch. Both are equal for a single image with no class twice.
    """

    exponent: float = 0.5
    mode: Literal["official", "pairwise"] = "official"

    def __post_init__(self) -> None:
        if self.mode not in ("official", "pairwise"):
            raise ValueError(f"mode is {self.mode!r}: type official or pairwise.")
        if self.exponent <= 0:
            raise ValueError(f"exponent is {self.exponent}: it is above 0; without the modulation set it to null.")

    def factors(self, boxes: Tensor, targets: Sequence[Targets], eps: float = 1e-6) -> list[Tensor]:
        """What the probability of each query for each object's class is multiplied by, image after image.

        Args:
            boxes: (S, B, Q, 4) cxcywh.
            targets: objects of each of the B images.
            eps: of the generalized IoU.

        Returns:
            B times (S, Q, M) in [0, 1].
        """
        if self.mode == "pairwise":
            return [self._nearness(boxes[:, i], image.boxes, eps) for i, image in enumerate(targets)]
        classes, last = _last_of_each_class(targets)  # (C,), (C, 4)
        columns = [torch.searchsorted(classes, image.labels) for image in targets]  # B times (M,)
        return [self._nearness(boxes[:, i], last, eps)[..., column] for i, column in enumerate(columns)]

    def _nearness(self, boxes: Tensor, compared: Tensor, eps: float) -> Tensor:
        """(S, Q, 4) of one image, (C, 4) -> (S, Q, C)."""
        corners = box_cxcywh_to_xyxy(compared.to(boxes.dtype))
        nearness = (generalized_box_iou(box_cxcywh_to_xyxy(boxes)[:, :, None], corners, eps) + 1) / 2
        if not len(compared):
            return nearness
        return (nearness * raised_to_one(nearness.amax((1, 2), keepdim=True))) ** self.exponent


def _last_of_each_class(targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
    """The classes of a batch (C,), ascending, and the boxes (C, 4) of the last object of each."""
    labels = torch.cat([image.labels for image in targets])  # (T,)
    classes, which = labels.unique(return_inverse=True)  # (C,), (T,)
    place = torch.arange(len(labels), device=labels.device)
    last = torch.zeros_like(classes).scatter_reduce(0, which, place, "amax")
    return classes, torch.cat([image.boxes for image in targets])[last]


def raised_to_one(largest: Tensor) -> Tensor:
    """What makes a largest value 1, and at least 1 itself, so that nothing is lowered: any shape -> the same shape."""
    return (1 / (largest + _EPS)).clamp(min=1)

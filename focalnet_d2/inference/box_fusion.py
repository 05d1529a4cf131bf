"""One set of boxes from those that several runs found in the same image: suppression, decay, or means.

Each fusion takes the detections of every run (`Instances` of the same image size with `pred_boxes`, `scores` and
`pred_classes`) and returns such `Instances`, in no promised order. Classes do not mix.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from detectron2.layers import batched_nms
from detectron2.structures import Boxes, Instances
from torch import Tensor

BoxFusion = Callable[[Sequence[Instances]], Instances]

_GAUSSIAN = 2  # number of the method in ensemble-boxes


class Nms:
    """The best boxes; others that overlap one of them are dropped. Needs no further package.

    Args:
        iou_threshold: above it a box is dropped; 1 keeps all.
    """

    def __init__(self, *, iou_threshold: float = 0.7):
        self.iou_threshold = iou_threshold

    def __call__(self, detections: Sequence[Instances]) -> Instances:
        """Scores and boxes stay as they are."""
        together = Instances.cat(list(detections))
        boxes, scores, classes = together.pred_boxes.tensor, together.scores, together.pred_classes
        return together[cast(Any, batched_nms(boxes, scores, classes, self.iou_threshold))]


class SoftNms:
    """All boxes; a score decays by exp(-IoU^2 / sigma) for every better box (arXiv:1704.04503, Gaussian form).

    Args:
        sigma: the larger, the less a score decays.
        skip_below: scores that are smaller, found or decayed, are dropped.

    Raises:
        ValueError: ensemble-boxes is not installed.
    """

    def __init__(self, *, sigma: float = 0.5, skip_below: float = 1e-3):
        self.sigma = sigma
        self.skip_below = skip_below
        # Not its soft_nms, which returns the boxes with the scores that they had before the decay.
        self._decay = _ensemble_boxes().ensemble_boxes_nms.cpu_soft_nms_float

    def __call__(self, detections: Sequence[Instances]) -> Instances:
        """Boxes stay as they are."""
        together = _usable(Instances.cat(list(detections)), self.skip_below)
        boxes, classes = _array(together.pred_boxes.tensor), _array(together.pred_classes)
        kept, decayed = [np.zeros(0, np.int64)], [np.zeros(0)]
        for label in np.unique(classes):
            (indices,) = np.nonzero(classes == label)
            scores = _array(together.scores)[indices]  # a copy, which is decayed and sorted in place
            order = self._decay(boxes[indices], scores, 0.0, self.sigma, self.skip_below, _GAUSSIAN)
            kept.append(indices[order])
            decayed.append(scores[scores > self.skip_below])
        fused = together[cast(Any, torch.as_tensor(np.concatenate(kept), device=together.scores.device))]
        fused.scores = torch.as_tensor(np.concatenate(decayed)).to(together.scores)
        return fused


class WeightedBoxFusion:
    """Means of overlapping boxes, weighted by their scores (arXiv:1910.13302).

    The score is the mean of those of the fused boxes, where every run that found none counts as a score of 0. Boxes are
    cut at the image's borders.

    Args:
        iou_threshold: above it boxes are fused.
        skip_below: found boxes with smaller scores are dropped: they would only lower the mean.

    Raises:
        ValueError: ensemble-boxes is not installed.
    """

    def __init__(self, *, iou_threshold: float = 0.7, skip_below: float = 0.05):
        self.iou_threshold = iou_threshold
        self.skip_below = skip_below
        self._fuse = _ensemble_boxes().weighted_boxes_fusion

    def __call__(self, detections: Sequence[Instances]) -> Instances:
        """New boxes and scores, with the type and on the device of the found ones."""
        image_size = detections[0].image_size
        height, width = image_size
        size = np.array([width, height, width, height])
        detections = [_usable(_cut(one), self.skip_below) for one in detections]
        boxes, scores, classes = self._fuse(
            [_array(one.pred_boxes.tensor) / size for one in detections],
            [_array(one.scores) for one in detections],
            [_array(one.pred_classes) for one in detections],
            iou_thr=self.iou_threshold,
            conf_type="absent_model_aware_avg",
        )
        return Instances(
            image_size,
            pred_boxes=Boxes(torch.as_tensor(boxes * size).to(detections[0].pred_boxes.tensor)),
            scores=torch.as_tensor(scores).to(detections[0].scores),
            pred_classes=torch.as_tensor(classes).to(detections[0].pred_classes),
        )


def _usable(detections: Instances, skip_below: float) -> Instances:
    """Without empty boxes, whose IoU is not defined, low scores, and scores of 0, which have no mean."""
    return detections[detections.pred_boxes.nonempty() & (detections.scores >= skip_below) & (detections.scores > 0)]


def _cut(detections: Instances) -> Instances:
    """A copy whose boxes end at the image's borders."""
    boxes = detections.pred_boxes.clone()
    boxes.clip(detections.image_size)
    return Instances(
        detections.image_size, pred_boxes=boxes, scores=detections.scores, pred_classes=detections.pred_classes
    )


def _array(values: Tensor) -> np.ndarray:
    """float64 on the CPU, whatever the tensor's type."""
    return values.double().cpu().numpy()


def _ensemble_boxes() -> ModuleType:
    """The package, imported where it is needed: it is optional, and takes a second."""
    try:
        import ensemble_boxes  # an optional extra
    except ImportError as error:
        raise ValueError(
            "Soft-NMS and weighted box fusion need the package ensemble-boxes: "
            'pip install "focalnet-d2[test-time-augmentation]", or use box_fusion.Nms.'
        ) from error
    return ensemble_boxes

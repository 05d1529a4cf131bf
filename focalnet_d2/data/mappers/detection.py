"""From a dataset dict to what a box detector takes: image tensor and, in training, boxes and classes."""

from typing import Any, cast

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances

from ..channel_transforms import ImageInput
from .base import ImageMapper


class BoxMapper(ImageMapper):
    """A mapper of annotated boxes, which move with the image and which augmentations may look at (`boxes`)."""

    def augmentation_input(self, dataset_dict: dict, image: np.ndarray) -> ImageInput:
        """Image (H, W, C) and, in training, the boxes (M, 4) XYXY of what is no crowd; raises as `annotated_boxes`."""
        return ImageInput(image, self.image_format, annotated_boxes(dataset_dict) if self.is_train else None)


class DetectionMapper(BoxMapper):
    """Targets: gt_boxes (M, 4) XYXY pixels of the augmented image and gt_classes (M,).

    Crowds are no targets, and neither are boxes that the crop left empty; M may be 0.
    """

    def targets(
        self, dataset_dict: dict, transforms: T.Transform, aug_input: ImageInput, file_size: tuple[int, int]
    ) -> dict:
        """ "instances" with the boxes as the augmentations left them."""
        instances = box_targets(without_crowds(dataset_dict), aug_input.boxes, aug_input.image.shape[:2])
        return {"instances": instances[cast(Any, has_area(instances))]}


def without_crowds(dataset_dict: dict) -> list[dict]:
    """The annotations of an image that are targets."""
    return [one for one in dataset_dict.get("annotations", []) if not one.get("iscrowd", 0)]


def annotated_boxes(dataset_dict: dict) -> np.ndarray:
    """(M, 4) float64 XYXY pixels of the annotations that are no crowds.

    Raises:
        ValueError: a box holds NaN or infinity.
    """
    targets = without_crowds(dataset_dict)
    boxes = [BoxMode.convert(t["bbox"], t["bbox_mode"], BoxMode.XYXY_ABS) for t in targets]
    boxes_xyxy_abs = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(boxes_xyxy_abs).all():
        bad = targets[int(np.flatnonzero(~np.isfinite(boxes_xyxy_abs).all(axis=1))[0])]
        file_name = dataset_dict["file_name"]
        raise ValueError(f"The annotations of {file_name} hold a box that is not finite: {list(bad['bbox'])}.")
    return boxes_xyxy_abs


def box_targets(annotations: list[dict], boxes: np.ndarray, image_size: tuple[int, int]) -> Instances:
    """Instances with gt_boxes (M, 4) clipped to the image and gt_classes (M,).

    Args:
        annotations: M annotation dicts of Detectron2.
        boxes: (M, 4) XYXY pixels after the transforms.
        image_size: (h, w) after the transforms.
    """
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(torch.as_tensor(boxes, dtype=torch.float32))
    instances.gt_boxes.clip(image_size)
    instances.gt_classes = torch.tensor([int(t["category_id"]) for t in annotations], dtype=torch.int64)
    return instances


def has_area(instances: Instances) -> torch.Tensor:
    """(M,) bool: which boxes the transforms left in the image."""
    return instances.gt_boxes.nonempty(threshold=1e-5)

"""From a dataset dict to what a box detector takes: image tensor and, in training, boxes and classes."""

from typing import Any, cast

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances

from .base import ImageMapper


class DetectionMapper(ImageMapper):
    """Targets: gt_boxes (M, 4) XYXY pixels of the augmented image and gt_classes (M,).

    Crowds are no targets, and neither are boxes that the crop left empty; M may be 0.
    """

    def make_targets(
        self, dataset_dict: dict, transforms: T.Transform, file_size: tuple[int, int], image_size: tuple[int, int]
    ) -> Instances:
        """See `box_targets`."""
        return box_targets(dataset_dict.get("annotations", []), transforms, image_size, dataset_dict["file_name"])


def box_targets(
    annotations: list[dict], transforms: T.Transform, image_size: tuple[int, int], file_name: str
) -> Instances:
    """Boxes and classes of an image after its transforms.

    Args:
        annotations: Detectron2's annotation dicts.
        image_size: (h, w) after the transforms.
        file_name: for the error message.

    Returns:
        Instances with gt_boxes (M, 4) clipped to the image and gt_classes (M,).

    Raises:
        ValueError: a box holds NaN or infinity.
    """
    targets = [annotation for annotation in annotations if not annotation.get("iscrowd", 0)]
    boxes = [BoxMode.convert(t["bbox"], t["bbox_mode"], BoxMode.XYXY_ABS) for t in targets]
    boxes_xyxy_abs = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(boxes_xyxy_abs).all():
        bad = targets[int(np.flatnonzero(~np.isfinite(boxes_xyxy_abs).all(axis=1))[0])]
        raise ValueError(f"The annotations of {file_name} hold a box that is not finite: {list(bad['bbox'])}.")
    instances = Instances(image_size)
    instances.gt_boxes = Boxes(torch.as_tensor(transforms.apply_box(boxes_xyxy_abs), dtype=torch.float32))
    instances.gt_boxes.clip(image_size)
    instances.gt_classes = torch.tensor([int(t["category_id"]) for t in targets], dtype=torch.int64)
    return instances[cast(Any, instances.gt_boxes.nonempty(threshold=1e-5))]

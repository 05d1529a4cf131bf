"""From a dataset dict to what a box detector takes: image tensor and, in training, boxes and classes."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import check_image_size
from detectron2.structures import Boxes, BoxMode, Instances

from ..image_reading import read_image


class DetectionMapper:
    """Reads one image, augments it together with its boxes, and makes tensors.

    Random augmentations draw from numpy's global generator, which the training loader seeds for every sample.

    Args:
        is_train: add "instances"; otherwise annotations are left out.
        augmentations: applied in this order.
        image_format: "RGB" or "BGR", whichever the model normalises.
    """

    def __init__(self, is_train: bool, *, augmentations: Sequence[T.Augmentation], image_format: str = "RGB"):
        self.is_train = is_train
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format

    def __call__(self, dataset_dict: dict) -> dict:
        """Maps one dataset dict; the argument stays unchanged.

        Returns:
            The dict without "annotations", with height and width of the file, and
            image: (3, H, W) uint8 after augmentation;
            instances (training): gt_boxes (M, 4) XYXY pixels of the augmented image, gt_classes (M,). Crowds
            are no targets, and neither are boxes that the crop left empty; M may be 0.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read, has another size than the annotations
                say, or a box is not a number.
        """
        sample = {key: value for key, value in dataset_dict.items() if key != "annotations"}
        image = read_image(sample["file_name"], self.image_format)
        check_image_size(sample, image)
        aug_input = T.AugInput(image)
        transforms = self.augmentations(aug_input)
        image = aug_input.image  # (H, W, 3)
        sample["image"] = torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))
        if self.is_train:
            annotations = dataset_dict.get("annotations", [])
            sample["instances"] = make_targets(annotations, transforms, image.shape[:2], sample["file_name"])
        return sample


def make_targets(
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
    return instances[instances.gt_boxes.nonempty(threshold=1e-5)]

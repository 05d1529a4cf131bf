"""What all mappers do: read the image, augment it, make a tensor; and targets with masks."""

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.data.detection_utils import check_image_size
from detectron2.structures import BitMasks, Boxes, Instances

from ..channel_transforms import EightBitsOnlyError, ImageInput
from ..channels import ImageFormat, channels_first
from ..image_reading import read_image

GROUND_TRUTH = (
    *("annotations", "segments_info", "renumbered_segments", "pan_seg_file_name", "sem_seg_file_name"),
    "label_decoding",
)


class ImageMapper:
    """Reads one image, augments it and makes a tensor; a subclass adds the targets.

    Random augmentations draw from numpy's global generator, which the training loader seeds for every sample.

    Args:
        is_train: add targets in place of the ground truth of the dataset dict.
        augmentations: applied in this order.
        image_format: "RGB" or "BGR", whichever the model normalises, or other channels.
    """

    def __init__(self, is_train: bool, *, augmentations: Sequence[T.Augmentation], image_format: ImageFormat = "RGB"):
        self.is_train = is_train
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format

    def __call__(self, dataset_dict: dict) -> dict:
        """Maps one dataset dict; the argument stays unchanged.

        Returns:
            The dict with height and width of the file and image, (3, H, W) uint8 after augmentation, or (N, H, W)
            of other channels. In training `targets` are added and the ground truth is left out; otherwise "annotations"
            are, and the names of label files stay for the evaluators.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read or has another size than the dict says, or the
                ground truth is refused.
        """
        dropped = GROUND_TRUTH if self.is_train else ("annotations",)
        sample = {key: value for key, value in dataset_dict.items() if key not in dropped}
        image = read_image(sample["file_name"], self.image_format)
        check_image_size(sample, image)
        aug_input = self.augmentation_input(dataset_dict, image)
        transforms = augment(self.augmentations, aug_input, sample["file_name"])
        sample["image"] = torch.from_numpy(channels_first(aug_input.image))
        if self.is_train:
            height, width = image.shape[:2]
            sample |= self.targets(dataset_dict, transforms, aug_input, (height, width))
        return sample

    def augmented_first(self, augmentation: T.Augmentation) -> "ImageMapper":
        """The same mapper with one more augmentation, before its own."""
        changed = copy(self)
        changed.augmentations = T.AugmentationList([augmentation, *self.augmentations.augs])
        return changed

    def image_tensor(self, image: np.ndarray, name: str) -> torch.Tensor:
        """What the model gets of an image alone: (H, W, C) in `image_format` -> (C, h, w), after the augmentations.

        Args:
            name: of the image, for messages.

        Raises:
            ValueError: an augmentation fails.
        """
        aug_input = ImageInput(image, self.image_format)
        augment(self.augmentations, aug_input, name)
        return torch.from_numpy(channels_first(aug_input.image))

    def augmentation_input(self, dataset_dict: dict, image: np.ndarray) -> ImageInput:
        """What the augmentations see and change: (H, W, C) alone, unless a subclass has boxes or labels move along."""
        return ImageInput(image, self.image_format)

    def targets(
        self, dataset_dict: dict, transforms: T.Transform, aug_input: ImageInput, file_size: tuple[int, int]
    ) -> dict:
        """What training gets beside the image: "instances", see `make_targets`.

        Args:
            aug_input: after the transforms.
            file_size: (h, w) before them.
        """
        return {"instances": self.make_targets(dataset_dict, transforms, file_size, aug_input.image.shape[:2])}

    def make_targets(
        self, dataset_dict: dict, transforms: T.Transform, file_size: tuple[int, int], image_size: tuple[int, int]
    ) -> Instances:
        """Targets of one image.

        Args:
            transforms: what was done to the image.
            file_size: (h, w) before the transforms.
            image_size: (h, w) after them.
        """
        raise NotImplementedError


def augment(augmentation: T.Augmentation, aug_input: ImageInput, file_name: str) -> T.Transform:
    """Changes an image, (H, W, C), and what belongs to it, and returns what was done.

    Raises:
        ValueError: the augmentation fails; the message names the file.
    """
    height, width = aug_input.image.shape[:2]
    try:
        return augmentation(aug_input)
    except EightBitsOnlyError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise ValueError(
            f"The image {file_name} of {width} x {height} pixels cannot be augmented ({str(e) or repr(e)}): it may "
            "be too thin to be resized; crop it, leave it out, or change the augmentations."
        ) from e


def mask_targets(masks: np.ndarray, classes: Sequence[int]) -> Instances:
    """Instances with gt_classes (M,), gt_masks (M, H, W) and gt_boxes (M, 4) XYXY pixels around the masks.

    Args:
        masks: (M, H, W) bool; the box of an empty one is 0, 0, 0, 0.
        classes: M contiguous classes.
    """
    height, width = masks.shape[1:]
    instances = Instances((height, width))
    instances.gt_classes = torch.tensor([int(label) for label in classes], dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    instances.gt_boxes = Boxes(torch.from_numpy(boxes_around(masks)))
    return instances


def boxes_around(masks: np.ndarray) -> np.ndarray:
    """(M, 4) float32 XYXY pixels around (M, H, W) bool; 0, 0, 0, 0 around nothing."""
    in_column, in_row = masks.any(axis=1), masks.any(axis=2)  # (M, W), (M, H)
    left, top = in_column.argmax(axis=1), in_row.argmax(axis=1)
    right = masks.shape[2] - in_column[:, ::-1].argmax(axis=1)
    bottom = masks.shape[1] - in_row[:, ::-1].argmax(axis=1)
    return np.stack([left, top, right, bottom], axis=1).astype(np.float32) * in_row.any(axis=1, keepdims=True)

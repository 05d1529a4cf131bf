"""From a dataset dict with a label map to the same map behind the augmentations: one class for every pixel."""

import numpy as np
import torch
from detectron2.data import transforms as T

from ..channel_transforms import ImageInput
from ..channels import ImageFormat
from ..label_maps import transform_labels
from .semantic_mask import SemanticMaskMapper


class LabeledInput(ImageInput):
    """An image and its labels; augmentations may ask for `sem_seg`, (H, W) int32, to choose what they do.

    Args:
        image: (H, W, C).
        image_format: of the image.
        sem_seg: (H, W) int32.
        ignore_label: of padding.
    """

    def __init__(self, image: np.ndarray, image_format: ImageFormat, sem_seg: np.ndarray, ignore_label: int):
        super().__init__(image, image_format)
        self.sem_seg, self.ignore_label = sem_seg, ignore_label

    def transform(self, tfm: T.Transform) -> None:
        super().transform(tfm)
        labels = transform_labels(tfm, self.sem_seg)
        self.sem_seg = np.where(labels < 0, self.ignore_label, labels)  # padding with 255


class SemanticSegMapper(SemanticMaskMapper):
    """Targets: `sem_seg` (H, W) int64, classes 0 to K - 1 or ignore_label, which is also the label of padding.

    In training the augmentations see the labels, so that a crop can be drawn again where one class fills it.
    Arguments and ground truth are those of `SemanticMaskMapper`.
    """

    def augmentation_input(self, dataset_dict: dict, image: np.ndarray) -> ImageInput:
        """Image (H, W, C) and labels (H, W); raises ValueError or FileNotFoundError where the labels cannot be used."""
        if not self.is_train:
            return super().augmentation_input(dataset_dict, image)
        height, width = image.shape[:2]
        labels = self.read_labels(dataset_dict, (height, width)).astype(np.int32)
        return LabeledInput(image, self.image_format, labels, self.ignore_label)

    def targets(
        self, dataset_dict: dict, transforms: T.Transform, aug_input: ImageInput, file_size: tuple[int, int]
    ) -> dict:
        """ "sem_seg" as the augmentations left it."""
        return {"sem_seg": torch.from_numpy(aug_input.sem_seg.astype(np.int64))}

"""From a dataset dict with a class to what a classifier takes."""

from collections.abc import Callable
from copy import copy

import numpy as np
from detectron2.data import transforms as T
from PIL import Image
from torch import Tensor

from ..channel_transforms import ImageInput
from ..channels import ChannelFormat, ImageFormat
from ..classification_transforms import crop_channels
from ..image_reading import read_image
from .base import augment


class ClassificationMapper:
    """Reads one image and makes a tensor of one fixed size. Images are turned upright by their EXIF orientation.

    Args:
        transform: Pillow image -> (3, H, W), such as `center_crop` or `ImageNetAugmentation`.
        image_format: "RGB" or "BGR", whichever the model normalises, or other channels.
    """

    def __init__(self, *, transform: Callable[[Image.Image], Tensor], image_format: ImageFormat = "RGB"):
        self.transform = transform
        self.image_format = image_format
        self._first = T.AugmentationList([])

    def __call__(self, dataset_dict: dict) -> dict:
        """The dict and `image` (C, H, W); the argument stays unchanged.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read.
        """
        file_name = dataset_dict["file_name"]
        return {**dataset_dict, "image": self.image_tensor(read_image(file_name, self.image_format), file_name)}

    def augmented_first(self, augmentation: T.Augmentation) -> "ClassificationMapper":
        """The same mapper with an augmentation before its transform."""
        changed = copy(self)
        changed._first = T.AugmentationList([augmentation, *self._first.augs])
        return changed

    def image_tensor(self, image: np.ndarray, name: str) -> Tensor:
        """What the model gets of an image alone: (H, W, C) in `image_format` -> (C, h, w).

        Args:
            name: of the image, for messages.

        Raises:
            ValueError: an augmentation fails.
        """
        aug_input = ImageInput(image, self.image_format)
        augment(self._first, aug_input, name)
        if isinstance(self.image_format, ChannelFormat):
            return crop_channels(self.transform, aug_input.image)
        return self.transform(Image.fromarray(aug_input.image))

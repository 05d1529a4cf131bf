"""From a dataset dict with a class to what a classifier takes."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from torch import Tensor

from ..channels import ChannelFormat, ImageFormat
from ..classification_transforms import crop_channels
from ..image_reading import read_image


class ClassificationMapper:
    """Reads one image and makes a tensor of one fixed size. Images are turned upright by their EXIF orientation.

    Args:
        transform: Pillow image -> (3, H, W), such as `center_crop` or `ImageNetAugmentation`.
        image_format: "RGB" or "BGR", whichever the model normalises, or other channels.
    """

    def __init__(self, *, transform: Callable[[Image.Image], Tensor], image_format: ImageFormat = "RGB"):
        self.transform = transform
        self.image_format = image_format

    def __call__(self, dataset_dict: dict) -> dict:
        """The dict and `image` (C, H, W); the argument stays unchanged.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read.
        """
        file_name = dataset_dict["file_name"]
        return {**dataset_dict, "image": self.image_tensor(read_image(file_name, self.image_format), file_name)}

    def image_tensor(self, image: np.ndarray, name: str) -> Tensor:
        """What the model gets of an image alone: (H, W, C) in `image_format` -> (C, h, w).

        Args:
            name: of the image, which no message of the transform needs.
        """
        if isinstance(self.image_format, ChannelFormat):
            return crop_channels(self.transform, image)
        return self.transform(Image.fromarray(image))

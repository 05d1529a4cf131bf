"""From a dataset dict with a class to what a classifier takes."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from torch import Tensor

from ..image_reading import read_image


class ClassificationMapper:
    """Reads one image and makes a tensor of one fixed size. Images are turned upright by their EXIF orientation.

    Args:
        transform: Pillow image -> (3, H, W), such as `center_crop` or `ImageNetAugmentation`.
        image_format: "RGB" or "BGR", whichever the model normalises.
    """

    def __init__(self, *, transform: Callable[[Image.Image], Tensor], image_format: str = "RGB"):
        self.transform = transform
        self.image_format = image_format

    def __call__(self, dataset_dict: dict) -> dict:
        """The dict and `image` (3, H, W); the argument stays unchanged.

        Raises:
            FileNotFoundError, ValueError: the image cannot be read.
        """
        file_name = dataset_dict["file_name"]
        return {**dataset_dict, "image": self.image_tensor(read_image(file_name, self.image_format), file_name)}

    def image_tensor(self, image: np.ndarray, name: str) -> Tensor:
        """What the model gets of an image alone: (H, W, 3) uint8 in `image_format` -> (3, h, w).

        Args:
            name: of the image, which no message of the transform needs.
        """
        return self.transform(Image.fromarray(image))

"""Crops and augmentation for classification: from a Pillow image to a tensor of one fixed size in 0..255."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, RandomResizedCrop, Resize

from .channels import channels_first, gray_image, in_type, resize_channels

_ALIKE = (Resize, CenterCrop, PILToTensor)  # what they do is the same for each channel
_SCALE, _RATIO = (0.08, 1.0), (3 / 4, 4 / 3)  # of a random crop: its share of the area, its width over its height
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the values that RGB images have in 0..1


def center_crop(size: int = 224, *, crop_ratio: float = 0.875) -> Compose:
    """The published test transform: bicubic resize of the shorter side, then the centre, (3, size, size) uint8.

    Args:
        size: side of the crop, pixels.
        crop_ratio: side of the crop over the shorter side of the resized image: 256 for 224 pixels, 438 for 384. (timm
            evaluates with 0.9, and its large networks at 384 pixels with 1.0.)
    """
    resize = Resize(int(size / crop_ratio), interpolation=InterpolationMode.BICUBIC)
    return Compose([resize, CenterCrop(size), PILToTensor()])


class ImageNetAugmentation:
    """Random resized crop, flip, RandAugment and random erasing, by timm (arXiv:2203.11926, table 18).

    Draws from the generators of Python, numpy and torch, which the training loader seeds for every sample. Images of
    other channels than red, green and blue are only cropped, resized and flipped.

    Args:
        size: side of the crop, pixels.
        auto_augment: timm's description of RandAugment or AutoAugment; None leaves it out.
        color_jitter: strength of a jitter of brightness, contrast and saturation; by timm's rule it takes place where
            `auto_augment` does not.
        erase_prob: probability that a rectangle is replaced by noise.

    Raises:
        ImportError: timm is not installed.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        auto_augment: str | None = "rand-m9-mstd0.5-inc1",
        color_jitter: float = 0.4,
        erase_prob: float = 0.25,
    ):
        try:
            from timm.data import create_transform  # an optional extra
        except ImportError as error:
            raise ImportError("ImageNetAugmentation needs timm: pip install focalnet-d2[classification].") from error
        self._size = size
        self._transform = create_transform(
            size, is_training=True, auto_augment=auto_augment, color_jitter=color_jitter, interpolation="bicubic",
            mean=_MEAN, std=_STD, re_prob=erase_prob, re_mode="pixel", re_count=1,
        )  # fmt: skip

    def __call__(self, image: Image.Image) -> Tensor:
        """(3, size, size) float32; in 0..255 but for the noise.

        The noise of random erasing is normal after normalisation. So the image is normalised, erased, and brought back
        to the range in which the model expects images, which then normalises it again.
        """
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
        return 255 * (self._transform(image) * std + mean)

    def of_channels(self, image: np.ndarray) -> np.ndarray:
        """(H, W, N) -> (size, size, N) of the same type."""
        height, width = image.shape[:2]
        window = RandomResizedCrop.get_params(torch.empty(1, height, width), list(_SCALE), list(_RATIO))
        top, left, height, width = window
        crop = image[top : top + height, left : left + width]
        resized = resize_channels(crop, (self._size, self._size), Image.Resampling.BICUBIC)
        return resized[:, ::-1] if torch.rand(()) < 0.5 else resized


def crop_channels(transform: Callable[[Image.Image], Any], image: np.ndarray) -> Tensor:
    """What a transform of 8-bit colors makes of other channels: (H, W, N) -> (N, h, w), uint8 or else float32.

    Args:
        transform: `center_crop` or `ImageNetAugmentation`.

    Raises:
        ValueError: another one.
    """
    if isinstance(transform, ImageNetAugmentation):
        cropped = transform.of_channels(image)
    elif isinstance(transform, Compose) and all(isinstance(step, _ALIKE) for step in transform.transforms):
        planes: list[Tensor] = [
            transform(gray_image(image[..., channel])) for channel in range(image.shape[2])
        ]  # (1, h, w) each
        cropped = in_type(torch.cat(planes).numpy().transpose(1, 2, 0), image.dtype)
    else:
        raise ValueError(f"The transform {transform!r} is made for 8-bit colors: take center_crop in its place.")
    return torch.from_numpy(channels_first(cropped))

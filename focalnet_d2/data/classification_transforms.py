"""Crops and augmentation for classification: from a Pillow image to a tensor of one fixed size in 0..255."""

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

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

    Draws from the generators of Python, numpy and torch, which the training loader seeds for every sample.

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

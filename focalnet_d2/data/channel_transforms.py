"""Augmentations of images with other channels than red, green and blue: flips, resizes, crops, paddings, brightness.

Detectron2's resizing knows other types than 8 bits, too, but looks at some of their pixels only where it shrinks, and
it takes a fourth channel of 8 bits for transparency, by which it weighs the others.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import (
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    PadTransform,
    Transform,
    TransformList,
    VFlipTransform,
)

from .channels import ChannelFormat, ImageFormat, in_type, resize_channels
from .color_jitter import ColorTransform
from .geometry import GeometricTransform
from .pixel_transform import PixelTransform

_STD_OF_PHOTOGRAPHS = 57  # of a color from 0 to 255, in which shifts of brightness are drawn
# They move values only, or have been drawn for the image that they change.
_OF_ANY_VALUES = (CropTransform, HFlipTransform, VFlipTransform, NoOpTransform, PixelTransform)


class EightBitsOnlyError(ValueError):
    """An augmentation that is made for 8-bit colors meets other channels."""


class ImageInput(T.AugInput):
    """What augmentations see and change: an image (H, W, 3), or (H, W, N) of other channels, and boxes.

    Args:
        image: (H, W, C).
        image_format: of the image.
        boxes: (M, 4) XYXY pixels.
    """

    image: Any  # Detectron2 says that they may be None
    boxes: Any
    sem_seg: Any

    def __init__(self, image: np.ndarray, image_format: ImageFormat, boxes: np.ndarray | None = None):
        super().__init__(image, boxes=boxes)
        self.image_format = image_format

    def transform(self, tfm: Transform) -> None:
        """Changes the image, (H, W, C) to (h, w, C), and the boxes, where there are any."""
        channels = self.image_format if isinstance(self.image_format, ChannelFormat) else None
        self.image = tfm.apply_image(self.image) if channels is None else transform_channels(tfm, self.image, channels)
        if self.boxes is not None:
            self.boxes = tfm.apply_box(self.boxes)


def transform_channels(transform: Transform, image: np.ndarray, channels: ChannelFormat) -> np.ndarray:
    """(H, W, N) -> (h, w, N) of the same type.

    Padding is the mean of each channel. Of a change of colors, brightness and contrast are changed and saturation and
    hue, which only red, green and blue have, stay: what a shift of brightness is to 8-bit photographs, it is here to
    images with the standard deviations of `channels`.

    Raises:
        EightBitsOnlyError: a transform that is made for 8-bit colors.
    """
    for step in _steps(transform):
        if isinstance(step, T.ResizeTransform):
            drawn = vars(step)
            image = resize_channels(image, (drawn["new_h"], drawn["new_w"]), drawn["interp"])
        elif isinstance(step, PadTransform):
            image = _pad(step, image, channels)
        elif isinstance(step, ColorTransform):
            image = _brighten(step, image, channels)
        elif isinstance(step, _OF_ANY_VALUES):
            image = step.apply_image(image)
        else:
            raise EightBitsOnlyError(
                f"The augmentation {type(step).__name__} changes 8-bit colors, and not {channels}: leave it out of "
                "dataloader.train.mapper.augmentations."
            )
    return image


def _steps(transform: Transform) -> Iterator[Transform]:
    """The single transforms of lists of them."""
    if isinstance(transform, TransformList | GeometricTransform):
        for step in transform.transforms:
            yield from _steps(step)
    else:
        yield transform


def _pad(padding: PadTransform, image: np.ndarray, channels: ChannelFormat) -> np.ndarray:
    height, width, count = image.shape
    left, right, top, bottom = (vars(padding)[side] for side in ("x0", "x1", "y0", "y1"))
    padded = np.empty((top + height + bottom, left + width + right, count), image.dtype)
    padded[:] = in_type(np.array(channels.mean, np.float32), image.dtype)
    padded[top : top + height, left : left + width] = image
    return padded


def _brighten(change: ColorTransform, image: np.ndarray, channels: ChannelFormat) -> np.ndarray:
    shift = change.brightness / _STD_OF_PHOTOGRAPHS * np.array(channels.std, np.float32)
    changed = (image.astype(np.float32) + shift) * np.float32(change.contrast)
    return in_type(changed, image.dtype)

"""What the models of this project have in common: they normalise their images and know what files they can load."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from focalnet_d2.checkpoint.layout import Layout

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, RGB in 0..255


class ImageModel(nn.Module):
    """Base of the detectors, segmenters and the classifier.

    Args:
        num_classes: classes K.
        pixel_mean, pixel_std: of RGB images in 0..255.

    Attributes:
        layouts: of the published files that fill the model, and of its own.
    """

    layouts: ClassVar[tuple[Layout, ...]]

    def __init__(self, num_classes: int, *, pixel_mean: Sequence[float], pixel_std: Sequence[float]):
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("pixel_mean", torch.tensor(list(pixel_mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(list(pixel_std)).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model lives, and where its inputs are brought."""
        return self.pixel_mean.device

    def checkpoint_layouts(self) -> tuple[Layout, ...]:
        """The layouts of published files that `focalnet_d2.checkpoint.load_checkpoint` may find for this model."""
        return self.layouts

    def batch(self, batched_inputs: Sequence[Mapping], divisor: int = 1) -> tuple[Tensor, list[tuple[int, int]]]:
        """The images of mapper dicts, normalised and padded to one size; see `batch_images`."""
        return batch_images(batched_inputs, self.pixel_mean, self.pixel_std, divisor)


MM_DIVISOR = 32  # mmdetection pads every image, by itself, to a multiple of it


def batch_images(
    batched_inputs: Sequence[Mapping], pixel_mean: Tensor, pixel_std: Tensor, divisor: int = 1
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Normalises images and pads them with zeros, right and below, to one size.

    Args:
        batched_inputs: per image `image` (3, h, w) in 0..255.
        pixel_mean, pixel_std: (3, 1, 1); their type and device are those of the batch.
        divisor: the largest height and width are rounded up to a multiple of it.

    Returns:
        (B, 3, H, W), and each image's (h, w).
    """
    moved = [image["image"].to(pixel_mean.device, non_blocking=True) for image in batched_inputs]  # a byte a colour
    images = [(image.to(pixel_mean) - pixel_mean) / pixel_std for image in moved]
    image_sizes = [tuple(image.shape[-2:]) for image in images]
    height, width = (-(-max(side) // divisor) * divisor for side in zip(*image_sizes, strict=True))
    batch = images[0].new_zeros(len(images), len(pixel_mean), height, width)
    for padded, image, (h, w) in zip(batch, images, image_sizes, strict=True):
        padded[:, :h, :w] = image
    return batch, image_sizes


def output_sizes(batched_inputs: Sequence[Mapping], image_sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(height, width) of each result: what the mapper asks for, or the image's own."""
    return [
        (image.get("height", h), image.get("width", w))
        for image, (h, w) in zip(batched_inputs, image_sizes, strict=True)
    ]

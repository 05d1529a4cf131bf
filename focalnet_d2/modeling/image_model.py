"""What the models of this project have in common: they normalise their images and know what files they can load."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..checkpoint.layout import Layout
from .batching import batch_images

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

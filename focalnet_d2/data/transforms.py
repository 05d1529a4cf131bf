"""Geometric augmentation of the DETR family.

Source: arXiv:2005.12872 (DETR), appendix A.4. The numbers of the 1.5x variant are those of FocalNet-DINO's
high-resolution data file; the DINO paper's text names a shorter range. Boxes are clipped to the crop, never
redrawn, and a crop may be without any. mmdetection bounds the longer side in the resize before the crop as
well, FocalNet-DINO does not: `bound_before_crop`.
"""

import sys
from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, Transform

from .geometry import Geometry


class RandomSizeCrop(T.Augmentation):
    """A random window whose height and width are drawn separately, both ends of the range included.

    Args:
        low, high: smallest and largest side, pixels; a side never exceeds the image's.
    """

    def __init__(self, low: int, high: int):
        super().__init__()
        if not 0 < low <= high:
            raise ValueError(
                f"Crop range ({low}, {high}) must be (smallest, largest) side with 0 < smallest <= largest."
            )
        self.low, self.high = int(low), int(high)

    def get_transform(self, image: np.ndarray) -> Transform:
        """A crop drawn for an image (H, W, 3)."""
        height, width = image.shape[:2]
        crop_height, crop_width = self._draw_side(height), self._draw_side(width)
        top = np.random.randint(height - crop_height + 1)
        left = np.random.randint(width - crop_width + 1)
        return CropTransform(left, top, crop_width, crop_height, width, height)

    def _draw_side(self, available: int) -> int:
        return np.random.randint(min(self.low, available), min(self.high, available) + 1)


class DetrAugmentation(T.Augmentation):
    """Flip, then either (a) resize, or (b) resize, crop and resize as in (a).

    Both resizes draw the shorter side from a list and keep the aspect ratio; (a) also bounds the longer side.
    The defaults are the published 800-pixel recipe.

    Args:
        short_sides: shorter sides of the finished image, pixels.
        max_size: bound on the longer side of the finished image, pixels.
        crop_short_sides: shorter sides before the crop, pixels.
        crop_range: smallest and largest side of the crop, pixels.
        flip_prob: probability of a horizontal flip.
        crop_prob: probability of (b).
        bound_before_crop: the first resize of (b) has the bound on the longer side, too, as in mmdetection.
    """

    def __init__(
        self,
        short_sides: Sequence[int] = tuple(range(480, 801, 32)),
        *,
        max_size: int = 1333,
        crop_short_sides: Sequence[int] = (400, 500, 600),
        crop_range: Sequence[int] = (384, 600),
        flip_prob: float = 0.5,
        crop_prob: float = 0.5,
        bound_before_crop: bool = False,
    ):
        super().__init__()
        self.crop_prob = crop_prob
        flip = T.RandomFlip(flip_prob)
        resize = T.ResizeShortestEdge(tuple(short_sides), max_size, sample_style="choice")
        bound = max_size if bound_before_crop else sys.maxsize
        resize_before_crop = T.ResizeShortestEdge(tuple(crop_short_sides), bound, sample_style="choice")
        self.resized = Geometry([flip, resize])
        self.cropped = Geometry([flip, resize_before_crop, RandomSizeCrop(*crop_range), resize])

    def __call__(self, aug_input: T.AugInput) -> Transform:
        chosen = self.cropped if np.random.uniform() < self.crop_prob else self.resized
        return chosen(aug_input)

    def __repr__(self) -> str:
        return f"DetrAugmentation(resized={self.resized}, cropped={self.cropped}, crop_prob={self.crop_prob})"


def detr_800(scale: float = 1.0, *, bound_before_crop: bool = False) -> DetrAugmentation:
    """The 800-pixel recipe, all lengths times `scale`; detr_800(0.2) suits images of 160 pixels."""
    return DetrAugmentation(
        _scaled(range(480, 801, 32), scale),
        max_size=round(1333 * scale),
        crop_short_sides=_scaled((400, 500, 600), scale),
        crop_range=_scaled((384, 600), scale),
        bound_before_crop=bound_before_crop,
    )


def detr_1200(scale: float = 1.0) -> DetrAugmentation:
    """The recipe at one and a half times the size, all lengths times `scale`."""
    return DetrAugmentation(
        _scaled((480, 560, 640, 720, 800, 900, 1000, 1100, 1200), scale),
        max_size=round(2000 * scale),
        crop_short_sides=_scaled(range(400, 901, 100), scale),
        crop_range=_scaled((384, 900), scale),
    )


def _scaled(lengths: Sequence[int], scale: float) -> tuple[int, ...]:
    return tuple(round(length * scale) for length in lengths)

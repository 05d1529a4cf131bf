"""Augmentation of segmentation: large-scale jitter for COCO, and two kinds of crops with colour jitter for ADE20K.

Sources: arXiv:2012.07177 (large-scale jitter), and the settings with which Mask2Former and, in mmsegmentation, the
UPerNets were published. Padding is 128 in images and 255 in label maps; the mappers turn either into "no object".
"""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T

from .color_jitter import SsdColorJitter
from .geometry import Geometry


class ScaleJitter(T.ResizeScale):
    """Detectron2's `ResizeScale`; a side never shrinks to nothing, as it does in very long images."""

    def get_transform(self, image: np.ndarray) -> T.ResizeTransform:
        """A resizing drawn for an image (H, W, 3)."""
        drawn = vars(super().get_transform(image))
        height, width = max(drawn["new_h"], 1), max(drawn["new_w"], 1)
        return T.ResizeTransform(drawn["h"], drawn["w"], height, width, drawn["interp"])


def lsj(size: int = 1024, *, min_scale: float = 0.1, max_scale: float = 2.0) -> Geometry:
    """Large-scale jitter: flip; resize to a random share of what fits into size x size; crop or pad to that size.

    Args:
        size: sides of the finished image, pixels.
        min_scale, max_scale: range of the share, drawn uniformly.
    """
    return Geometry(
        [
            T.RandomFlip(),
            ScaleJitter(min_scale, max_scale, size, size),
            T.FixedSizeCrop((size, size), pad_value=128, seg_pad_value=255),
        ]
    )


def ade_crop(size: int) -> T.AugmentationList:
    """Resize to 0.5 to 2 times, crop, colour jitter, flip, pad; published with size 512 and 640.

    Args:
        size: S. The shorter side is drawn from int(0.1 k S), k = 5 ... 20, the longer is at most 4 S; the finished
            image has S x S pixels.
    """
    short_sides = [int(0.1 * k * size) for k in range(5, 21)]
    return T.AugmentationList(
        [
            Geometry(
                [
                    T.ResizeShortestEdge(short_sides, 4 * size, sample_style="choice"),
                    T.RandomCrop("absolute", (size, size)),
                ]
            ),
            SsdColorJitter(),
            # The crop is done, so the last only pads.
            Geometry([T.RandomFlip(), T.FixedSizeCrop((size, size), pad_value=128, seg_pad_value=255)]),
        ]
    )


class RandomRatioResize(T.Augmentation):
    """Fits the image into a random multiple of a rectangle, which may lie or stand; the aspect ratio stays.

    Args:
        short_side, long_side: of the rectangle, pixels.
        ratios: smallest and largest multiple, drawn uniformly; both sides are rounded down.
    """

    def __init__(self, short_side: int, long_side: int, *, ratios: Sequence[float] = (0.5, 2.0)):
        super().__init__()
        self.short_side, self.long_side = short_side, long_side
        self.ratios = tuple(ratios)

    def get_transform(self, image: np.ndarray) -> T.ResizeTransform:
        """A resizing drawn for an image (H, W, 3)."""
        smallest, largest = self.ratios
        ratio = np.random.uniform(smallest, largest)
        limits = int(self.short_side * ratio), int(self.long_side * ratio)
        height, width = image.shape[:2]
        return T.ResizeTransform(height, width, *T.ResizeShortestEdge.get_output_shape(height, width, *limits))


def mmseg_crop(size: int = 512, *, ignore_label: int = 255) -> T.AugmentationList:
    """Resize to 0.5 to 2 times, crop where no class fills more than three quarters, flip, colour jitter.

    The augmentations need the labels beside the image, as `SemanticSegMapper` gives them. Crops of small images stay
    small: UPerNet pads them after they are normalised. mmsegmentation takes an eleventh crop, whatever is in it, where
    the ten that are tried here are all filled by a class; here it is the tenth.

    Args:
        size: S. The image is fitted into 4 S x S pixels times the ratio, and the crop has S x S.
        ignore_label: pixels that do not count for the crop.
    """
    return T.AugmentationList(
        [
            RandomRatioResize(size, 4 * size),
            T.RandomCrop_CategoryAreaConstraint("absolute", (size, size), 0.75, ignore_label),
            T.RandomFlip(),
            SsdColorJitter(),
        ]
    )

"""A large prediction at a fraction of its size, which is what its picture shows."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from focalnet_d2.structures.cropped_masks import CroppedMask, CroppedMasks, crop_mask

if TYPE_CHECKING:  # prediction.py imports this module
    from .prediction import Prediction

LARGEST = 4000  # pixels of the longer side of a picture, but for those that are enlarged
_ROWS = 256  # of the smaller image that are made at a time


def reduced(prediction: "Prediction", largest: int = LARGEST) -> "Prediction":
    """The prediction, or where a side has more than `largest` pixels, every second, third, ... pixel of it."""
    step = -(-max(prediction.size) // largest)
    if step == 1:
        return prediction
    masks = prediction.masks
    if masks is not None:
        size = (-(-prediction.size[0] // step), -(-prediction.size[1] // step))
        masks = CroppedMasks([_every(step, crop_mask(masks, index)) for index in range(len(masks))], size)
    return replace(
        prediction,
        image=_averaged(prediction.image, step),
        boxes=prediction.boxes if prediction.boxes is None else prediction.boxes / step,
        masks=masks,
        panoptic_map=_of_map(prediction.panoptic_map, step),
        semantic_map=_of_map(prediction.semantic_map, step),
    )


def _averaged(image: np.ndarray, step: int) -> np.ndarray:
    """(H, W, 3) -> (H / step, W / step, 3), rounded up: means of step x step pixels."""
    strips = (Image.fromarray(image[top : top + step * _ROWS]) for top in range(0, len(image), step * _ROWS))
    return np.concatenate([np.asarray(strip.reduce(step)) for strip in strips])


def _of_map(labels: np.ndarray | None, step: int) -> np.ndarray | None:
    return None if labels is None else np.ascontiguousarray(labels[::step, ::step])


def _every(step: int, mask: CroppedMask) -> CroppedMask:
    """The pixels of a mask whose row and column in the image are multiples of `step`."""
    y, x = -mask.top % step, -mask.left % step
    return CroppedMask((mask.top + y) // step, (mask.left + x) // step, mask.pixels[y::step, x::step])

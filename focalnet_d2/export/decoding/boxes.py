"""Boxes of an image on their way to the original one.

Shapes: N boxes.
"""

import numpy as np

from ..result import Sizes


def clip_boxes(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., 4) XYXY pixels, with all corners inside an image of this (height, width)."""
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def to_output_size(boxes: np.ndarray, sizes: Sizes) -> np.ndarray:
    """Boxes (..., 4) XYXY in pixels of the network's input -> of the results."""
    scales = [result / network for result, network in zip(sizes.output, sizes.image, strict=True)]  # y, x
    return boxes * np.array([scales[1], scales[0], scales[1], scales[0]], boxes.dtype)

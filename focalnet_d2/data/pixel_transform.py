"""A transform of which only the result is known: the image, its boxes, and of each pixel the one that it came from."""

import numpy as np
from fvcore.transforms.transform import Transform


class PixelTransform(Transform):
    """What a pipeline did to one image.

    Args:
        image: (H', W', C) afterwards.
        sources: (H', W'), of each pixel the number of the one that it came from, row after row; H W for none.
        boxes: (M, 4) XYXY pixels afterwards, without area where there is nothing left.
    """

    def __init__(self, image: np.ndarray, sources: np.ndarray, boxes: np.ndarray):
        super().__init__()
        self.image, self.sources, self.boxes = image, sources, boxes

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """The image for which it was drawn, (H, W, C) -> (H', W', C)."""
        return self.image

    def apply_box(self, box: np.ndarray) -> np.ndarray:
        """The boxes for which it was drawn, (M, 4) -> (M, 4)."""
        return self.boxes

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(H, W, ...) -> (H', W', ...): the value of the pixel that is there now; 255 where there is none."""
        height, width, *rest = segmentation.shape
        values = np.full((height * width + 1, *rest), 255, segmentation.dtype)
        values[:-1] = segmentation.reshape(-1, *rest)
        return values.take(self.sources, axis=0)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Refuses (N, 2) points: raises TypeError, as only pixels move."""
        raise TypeError("a pipeline of albumentations moves pixels here, and no points")


def moves_pixels(transforms: Transform) -> bool:
    """Whether a pipeline is among the transforms, so that outlines have to be drawn before they are moved."""
    return any(isinstance(one, PixelTransform) for one in getattr(transforms, "transforms", [transforms]))

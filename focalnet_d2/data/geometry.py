"""Flips, resizes, crops and paddings drawn first and then applied together, so that only the pixels that stay are made.

The results are those of Detectron2's transforms one after the other, bit for bit, and so are the random numbers drawn.
"""

from collections.abc import Sequence

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import (
    CropTransform,
    HFlipTransform,
    NoOpTransform,
    PadTransform,
    Transform,
    TransformList,
)
from PIL import Image

from focalnet_d2.kernels.window_resize import resize_window

GEOMETRIC = (CropTransform, HFlipTransform, NoOpTransform, PadTransform, T.ResizeTransform)


class Geometry(T.AugmentationList):
    """Augmentations that make flips, resizes, crops and paddings, and look at nothing but the size of the image."""

    def __call__(self, aug_input: T.AugInput) -> "GeometricTransform":
        """Transforms the input by all of them at once.

        Raises:
            TypeError: one of them makes another kind of transform.
        """
        drawn = GeometricTransform(super().__call__(_Size(aug_input.image)).transforms)
        aug_input.transform(drawn)
        return drawn


class _Size(T.AugInput):
    """Stands for an image whose size changes; takes no memory for pixels."""

    def __init__(self, image: np.ndarray):
        self.image = np.broadcast_to(np.uint8(0), image.shape)

    def transform(self, tfm: Transform) -> None:
        size = GeometricTransform([tfm]).size_after(*self.image.shape[:2])
        self.image = np.broadcast_to(np.uint8(0), (*size, 3))


class GeometricTransform(Transform):
    """What a list of geometric transforms does, one after the other.

    Args:
        steps: of the classes GEOMETRIC, or lists of them.

    Attributes:
        transforms: the steps.
    """

    def __init__(self, steps: Sequence[Transform]):
        super().__init__()
        self.in_turn = TransformList(list(steps))
        self.transforms = self.in_turn.transforms
        for step in self.transforms:
            if not isinstance(step, GEOMETRIC):
                raise TypeError(
                    f"{type(step).__name__} is no flip, resize, crop or padding, so it cannot be in Geometry."
                )

    def size_after(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of an image of this size afterwards."""
        for step in self.transforms:
            if isinstance(step, T.ResizeTransform):
                height, width = step.new_h, step.new_w
            elif isinstance(step, CropTransform):
                _, _, height, width = _within(step, height, width)
            elif isinstance(step, PadTransform):
                height, width = height + step.y0 + step.y1, width + step.x0 + step.x1
        return height, width

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8; the result may share memory with the argument or lie in memory as three planes."""
        steps, done = self.transforms, 0
        while done < len(steps):
            step, following = steps[done], steps[done + 1] if done + 1 < len(steps) else None
            if isinstance(step, T.ResizeTransform) and step.interp == Image.Resampling.BILINEAR:
                size = (step.new_h, step.new_w)
                crops = isinstance(following, CropTransform)
                window = _within(following, *size) if crops else (0, 0, *size)
                img = resize_window(img, size, window)
                done += crops
            else:
                img = _pad(step, img) if isinstance(step, PadTransform) else step.apply_image(img)
            done += 1
        return img

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        """(H, W, ...) of any type: the value of the nearest pixel, on the grid of 8-bit images."""
        rows, columns = (self._sources(axis, segmentation.shape[axis]) for axis in (0, 1))
        in_rows, in_columns = rows >= 0, columns >= 0
        inside = _look_up(segmentation, rows[in_rows], columns[in_columns])
        if in_rows.all() and in_columns.all():
            return inside
        value = [step.seg_pad_value for step in self.transforms if isinstance(step, PadTransform)][-1]
        padded = np.full((len(rows), len(columns), *segmentation.shape[2:]), value, segmentation.dtype)
        if inside.size:  # what lies between paddings is one rectangle
            top, left = in_rows.argmax(), in_columns.argmax()
            padded[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return padded

    def _sources(self, axis: int, length: int) -> np.ndarray:
        """Of each row (axis 0) or column (1) afterwards, the number of the one it came from; -1 in padding."""
        sources = np.arange(length, dtype=np.int32)
        for step in self.transforms:
            if isinstance(step, T.ResizeTransform):
                sources = sources[_nearest(len(sources), (step.new_h, step.new_w)[axis])]
            elif isinstance(step, CropTransform):
                start = (step.y0, step.x0)[axis]
                sources = sources[start : start + (step.h, step.w)[axis]]
            elif isinstance(step, PadTransform):
                before_and_after = ((step.y0, step.y1), (step.x0, step.x1))[axis]
                sources = np.pad(sources, before_and_after, constant_values=-1)
            elif isinstance(step, HFlipTransform) and axis == 1:
                sources = sources[::-1]
        return sources

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """(N, 2) points as (x, y) -> (N, 2)."""
        return self.in_turn.apply_coords(coords)

    def apply_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray]:
        """Polygons of (N, 2) points as (x, y) -> as many polygons, cut by the crops."""
        return self.in_turn.apply_polygons(polygons)


def _within(crop: CropTransform, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part of a crop that an image has."""
    return crop.y0, crop.x0, min(crop.h, height - crop.y0), min(crop.w, width - crop.x0)


def _pad(padding: PadTransform, image: np.ndarray) -> np.ndarray:
    """(H, W, 3), in memory three planes, which is how the model takes it."""
    height, width = image.shape[:2]
    if not any((padding.x0, padding.x1, padding.y0, padding.y1)):
        return image
    size = (height + padding.y0 + padding.y1, width + padding.x0 + padding.x1)
    planes = np.full((image.shape[2], *size), padding.pad_value, image.dtype)
    planes[:, padding.y0 : padding.y0 + height, padding.x0 : padding.x0 + width] = image.transpose(2, 0, 1)
    return planes.transpose(1, 2, 0)


def _nearest(old: int, new: int) -> np.ndarray:
    """(new,) the pixel that Pillow takes for each when it resizes to the nearest."""
    numbers = Image.fromarray(np.arange(old, dtype=np.int32)[None])
    return np.asarray(numbers.resize((new, 1), Image.Resampling.NEAREST))[0]


def _look_up(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """labels[rows][:, columns], the cheaper of the two first."""
    if len(rows) < labels.shape[0]:
        return labels.take(rows, axis=0).take(columns, axis=1)
    return labels.take(columns, axis=1).take(rows, axis=0)

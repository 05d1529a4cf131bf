"""From COCO's instance annotations to one mask for every object: polygons and both kinds of run lengths."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pycocotools.mask as mask_codec
from detectron2.data import transforms as T
from detectron2.structures import Instances

from ..channels import ImageFormat
from ..pixel_transform import moves_pixels
from .base import ImageMapper, mask_targets


class InstanceMapper(ImageMapper):
    """Targets: every object that is no crowd, in the order of the annotations; boxes are those of the masks.

    Polygons are transformed before they are drawn, so their outline stays sharp at any scale; where a pipeline of
    albumentations moves pixels, they are drawn before.

    Args:
        is_train, augmentations, image_format: see `ImageMapper`.
        drop_empty: leave out objects that the crop removed, as published for COCO. For ADE20K they stay as empty
            targets.
    """

    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: Sequence[T.Augmentation],
        image_format: ImageFormat = "RGB",
        drop_empty: bool = True,
    ):
        super().__init__(is_train, augmentations=augmentations, image_format=image_format)
        self.drop_empty = drop_empty

    def make_targets(
        self, dataset_dict: dict, transforms: T.Transform, file_size: tuple[int, int], image_size: tuple[int, int]
    ) -> Instances:
        """Instances of `mask_targets`; M may be 0.

        Raises:
            ValueError: an annotation without a mask, with a damaged one, or with one of another size than the image.
        """
        targets = [one for one in dataset_dict.get("annotations", []) if not one.get("iscrowd", 0)]
        masks = np.zeros((len(targets), *image_size), bool)
        classes = []
        for annotation in targets:
            mask = masks[len(classes)]  # one that stays empty and is dropped leaves it to the next
            try:
                draw_mask(annotation.get("segmentation"), transforms, file_size, mask)
            except ValueError as error:
                raise ValueError(f"An annotation of {dataset_dict['file_name']} {error}.") from error
            if not self.drop_empty or mask.any():
                classes.append(annotation["category_id"])
        return mask_targets(masks[: len(classes)], classes)


def draw_mask(
    segmentation: Sequence[Sequence[float]] | dict | None,
    transforms: T.Transform,
    file_size: tuple[int, int],
    mask: np.ndarray,
) -> None:
    """Draws one object as it is after the transforms.

    Args:
        segmentation: COCO's polygons, compressed run lengths or a list of run lengths.
        file_size: (h, w) of the image before the transforms.
        mask: (H, W) bool of the size after them, empty.

    Raises:
        ValueError: a phrase that says what the annotation has or lacks.
    """
    if not segmentation:
        raise ValueError("has no segmentation, only a box; this mapper needs masks")
    if not isinstance(segmentation, dict):
        corners = [_corners(polygon) for polygon in segmentation]
        if not moves_pixels(transforms):
            moved: list[Any] = [transforms.apply_coords(one) for one in corners]
            draw_polygons(moved, mask)
            return
        drawn = np.zeros(file_size, bool)
        draw_polygons(corners, drawn)
        _move(drawn.view(np.uint8), transforms, mask)
        return
    if tuple(segmentation["size"]) != tuple(file_size):
        height, width = segmentation["size"]
        raise ValueError(f"has a mask of {width} x {height} pixels, but the image has {file_size[1]} x {file_size[0]}")
    if isinstance(segmentation["counts"], list):
        if (total := sum(segmentation["counts"])) != file_size[0] * file_size[1]:
            raise ValueError(f"has run lengths of {total} pixels, but the image has {file_size[0] * file_size[1]}")
        segmentation = mask_codec.frPyObjects(cast(Any, segmentation), *file_size)
    _move(np.ascontiguousarray(mask_codec.decode(cast(Any, segmentation))), transforms, mask)


def _move(drawn: np.ndarray, transforms: T.Transform, mask: np.ndarray) -> None:
    """(h, w) of 0 and 1 -> (H, W) bool, the second argument; padding with 255 is no object."""
    np.equal(transforms.apply_segmentation(drawn), 1, out=mask)


def draw_polygons(polygons: Sequence[np.ndarray], mask: np.ndarray) -> None:
    """Draws the union of polygons, each (N, 2) xy, by COCO's rules into an empty mask, (H, W) bool.

    Only the part of the image around the polygons is drawn, which is what takes the time.
    """
    corners = np.concatenate(polygons)
    limits = np.array(mask.shape)[::-1]  # x, y
    first = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, limits).astype(int)
    if (first < last).all():
        (left, top), (right, bottom) = first, last
        moved = [(polygon - first).ravel().tolist() for polygon in polygons]
        window = mask_codec.merge(mask_codec.frPyObjects(moved, bottom - top, right - left))
        mask[top:bottom, left:right] = mask_codec.decode(window)


def _corners(polygon: Sequence[float]) -> np.ndarray:
    """Corners (N, 2) as (x, y); parts outside the image are cut off when it is drawn."""
    corners = np.array(polygon, np.float64)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
        raise ValueError(f"has a polygon that is not a list of three or more pairs x, y of finite numbers: {polygon}")
    return corners.reshape(-1, 2)

"""From COCO's instance annotations to boxes and masks for the R-CNNs: the annotated boxes, not those of the masks."""

from typing import Any, cast

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks

from ..channel_transforms import ImageInput
from ..pixel_transform import moves_pixels
from .base import mask_targets
from .detection import BoxMapper, box_targets, has_area, without_crowds
from .instance import draw_mask


class BoxAndMaskMapper(BoxMapper):
    """Targets as in mmdetection: annotated boxes clipped to the image, each with its mask.

    Crowds are no targets, and neither are boxes that the crop left empty; M may be 0. A box is not drawn anew around
    the part of a mask that a crop leaves, and may hold a mask without pixels. Unlike mmdetection's masks, polygons are
    transformed before they are drawn, so their outline stays sharp at any scale. Behind a pipeline of albumentations,
    which may turn and bend an image, boxes are those of the masks that are left.
    """

    def targets(
        self, dataset_dict: dict, transforms: T.Transform, aug_input: ImageInput, file_size: tuple[int, int]
    ) -> dict:
        """ "instances" with gt_boxes (M, 4) XYXY pixels, gt_classes (M,) and gt_masks (M, H, W) bool.

        Raises:
            ValueError: an annotation without a mask, or with a damaged one.
        """
        image_size, annotations = aug_input.image.shape[:2], without_crowds(dataset_dict)
        targets = box_targets(annotations, aug_input.boxes, image_size)
        kept = has_area(targets)
        targets = targets[cast(Any, kept)]
        masks = np.zeros((len(targets), *image_size), bool)
        for place, mask in zip(kept.nonzero()[:, 0].tolist(), masks, strict=True):
            try:
                draw_mask(annotations[place].get("segmentation"), transforms, file_size, mask)
            except ValueError as error:
                raise ValueError(f"An annotation of {dataset_dict['file_name']} {error}.") from error
        if moves_pixels(transforms):
            left = masks.any(axis=(1, 2))
            return {"instances": mask_targets(masks[left], targets.gt_classes[torch.from_numpy(left)].tolist())}
        targets.gt_masks = BitMasks(torch.from_numpy(masks))
        return {"instances": targets}

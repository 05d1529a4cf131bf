"""From COCO's instance annotations to boxes and masks for the R-CNNs: the annotated boxes, not those of the masks."""

import numpy as np
import torch
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances

from .base import ImageMapper
from .detection import box_targets
from .instance import draw_mask


class BoxAndMaskMapper(ImageMapper):
    """Targets as in mmdetection: annotated boxes clipped to the image, each with its mask.

    Crowds are no targets, and neither are boxes that the crop left empty; M may be 0. A box is not drawn anew around
    the part of a mask that a crop leaves, and may hold a mask without pixels. Unlike mmdetection's masks, polygons are
    transformed before they are drawn, so their outline stays sharp at any scale.
    """

    def make_targets(
        self, dataset_dict: dict, transforms: T.Transform, file_size: tuple[int, int], image_size: tuple[int, int]
    ) -> Instances:
        """Instances with gt_boxes (M, 4) XYXY pixels, gt_classes (M,) and gt_masks (M, H, W) bool.

        Raises:
            ValueError: an annotation with a box that is not finite, without a mask, or with a damaged one.
        """
        file_name = dataset_dict["file_name"]
        annotations = dataset_dict.get("annotations", [])
        boxes = [box_targets([annotation], transforms, image_size, file_name) for annotation in annotations]
        kept = [annotation for annotation, box in zip(annotations, boxes, strict=True) if len(box)]
        masks = np.zeros((len(kept), *image_size), bool)
        for annotation, mask in zip(kept, masks, strict=True):
            try:
                draw_mask(annotation.get("segmentation"), transforms, file_size, mask)
            except ValueError as error:
                raise ValueError(f"An annotation of {file_name} {error}.") from error
        targets = Instances.cat(boxes) if boxes else box_targets([], transforms, image_size, file_name)
        targets.gt_masks = BitMasks(torch.from_numpy(masks))
        return targets

"""ADE20K panoptic at 640 pixels (ADE-640); test images 640 on the shorter side, at most 2560 on the longer."""

from detectron2.config import LazyCall as L

from focalnet_d2.data.segmentation_transforms import ade_crop

from .coco_panoptic import dataloader

dataloader.train.dataset.names = "ade20k_panoptic_train"
dataloader.train.mapper.augmentations = [L(ade_crop)(size=640)]
dataloader.test.dataset.names = "ade20k_panoptic_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 640
dataloader.test.mapper.augmentations[0].max_size = 2560

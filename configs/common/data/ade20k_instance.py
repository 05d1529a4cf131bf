"""ADE20K's objects with masks at 640 pixels (ADE-640), images without objects left out; test images as panoptic."""

from detectron2.config import LazyCall as L

from focalnet_d2.data.segmentation_transforms import ade_crop

from .coco_instance import dataloader

dataloader.train.dataset.names = "ade20k_instance_train"
dataloader.train.mapper.augmentations = [L(ade_crop)(size=640)]
dataloader.train.mapper.drop_empty = False  # as published: objects that left the crop stay as empty targets
dataloader.test.dataset.names = "ade20k_instance_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 640
dataloader.test.mapper.augmentations[0].max_size = 2560

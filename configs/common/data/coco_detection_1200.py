"""COCO 2017 boxes at one and a half times the size (DETR-1200); test images 1200, at most 2000."""

from detectron2.config import LazyCall as L

from focalnet_d2.data.transforms import detr_1200

from .coco_detection import dataloader, multi_scale

dataloader.train.mapper.augmentations = [L(detr_1200)()]
dataloader.test.mapper.augmentations[0].short_edge_length = 1200
dataloader.test.mapper.augmentations[0].max_size = 2000
multi_scale.short_sides = (600, 750, 900, 1050, 1200, 1350, 1500, 1650, 1800)
multi_scale.max_size = 3000

"""COCO 2017 boxes at 800 pixels as mmdetection has them: no images without objects, every resize bounded."""

from .coco_detection import dataloader

dataloader.train.dataset.filter_empty = True
dataloader.train.mapper.augmentations[0].bound_before_crop = True

"""COCO 2017 boxes and masks at 800 pixels, as mmdetection trains (DETR-800 with its bound before the crop).

Images without objects are left out, crops without objects stay. Test images 800 on the shorter side, at most 1333.
"""

from focalnet_d2.data.mappers import BoxAndMaskMapper

from .coco_detection import dataloader

dataloader.train.dataset.filter_empty = True
dataloader.train.mapper._target_ = dataloader.test.mapper._target_ = BoxAndMaskMapper
dataloader.train.mapper.augmentations[0].bound_before_crop = True
dataloader.evaluator.tasks = ("bbox", "segm")

"""Objects365 v2 boxes at 800 pixels."""

from .coco_detection import dataloader

dataloader.train.dataset.names = "objects365_v2_train"
dataloader.test.dataset.names = "objects365_v2_val"

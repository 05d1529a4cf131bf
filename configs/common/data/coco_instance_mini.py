"""The first 8 COCO training images with objects and their masks, at 256 pixels; the same 8 for evaluation."""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .coco_instance_800 import dataloader

_resize = L(T.ResizeShortestEdge)(short_edge_length=256, max_size=427)
dataloader.train.mapper.augmentations = dataloader.test.mapper.augmentations = [_resize]
dataloader.train.dataset.limit = dataloader.test.dataset.limit = 8
dataloader.test.dataset.names = dataloader.train.dataset.names
dataloader.evaluator.only_seen_images = True
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 1

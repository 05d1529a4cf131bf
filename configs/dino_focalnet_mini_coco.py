"""Small DINO with a small FocalNet that learns the first 8 COCO training images with objects by heart, at 256 pixels.

Source: this project; a check of the whole path on real images, not a published network.
Start: the weights of dino_focalnet_mini_quickstart; all class rows start afresh.
Command: python train_net.py --config-file dino_focalnet_mini_coco train.init_checkpoint=FILE
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .common.data.coco_detection import dataloader
from .common.models.dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

_resize = L(T.ResizeShortestEdge)(short_edge_length=256, max_size=427)
dataloader.train.mapper.augmentations = dataloader.test.mapper.augmentations = [_resize]
dataloader.train.dataset.limit = dataloader.test.dataset.limit = 8
dataloader.test.dataset.names = dataloader.train.dataset.names
dataloader.evaluator.only_seen_images = True
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 1
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.max_iter = 600
train.new_classes = True
train.eval_period = 200
train.checkpoint_period = 200

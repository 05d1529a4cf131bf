"""Small Mask2Former with a small FocalNet that learns 8 COCO panoptic training images by heart, at 256 pixels.

Source: this project; a check of the whole path on real images, not a published network.
Start: the weights of mask2former_focalnet_mini_quickstart; class rows start afresh but for common names.
Command: python train_net.py --config-file mask2former_focalnet_mini_coco train.init_checkpoint=FILE
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from .common.data.coco_panoptic import dataloader
from .common.models.mask2former_mini import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mask2former_train as train

_resize = L(T.ResizeShortestEdge)(short_edge_length=256, max_size=427)
dataloader.train.mapper.augmentations = dataloader.test.mapper.augmentations = [_resize]
dataloader.train.dataset.limit = dataloader.test.dataset.limit = 8
dataloader.test.dataset.names = dataloader.train.dataset.names
dataloader.evaluator.evaluators[1].only_seen_images = True
dataloader.train.total_batch_size = 2
dataloader.train.num_workers = dataloader.test.num_workers = 1
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.clip_norm = 0.1
train.new_classes = True
train.max_iter = 400
train.eval_period = train.checkpoint_period = 200

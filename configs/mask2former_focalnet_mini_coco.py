"""Small Mask2Former with a small FocalNet that overfits 8 COCO panoptic images at 256 pixels, to check the whole path.

Command: python train_net.py --config-file mask2former_focalnet_mini_coco train.init_checkpoint=FILE
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_panoptic import dataloader
from .common.models.mask2former_mini import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="mask2former_focalnet_mini_quickstart"))
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

"""Small UPerNet with a small FocalNet that overfits up to 8 ADE20K images at 128 pixels, to check the whole path.

Command: python train_net.py --config-file upernet_focalnet_mini_ade20k train.init_checkpoint=FILE
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.ade20k_upernet import dataloader
from .common.data.ade20k_upernet import multi_scale as _multi_scale
from .common.models.upernet_mini import model
from .common.optim import upernet_adamw as optimizer
from .common.schedules import linear_decay as lr_multiplier
from .common.train import upernet_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))
_resize = L(T.ResizeShortestEdge)(short_edge_length=128, max_size=256)
dataloader.train.mapper.augmentations = dataloader.test.mapper.augmentations = [_resize]
dataloader.train.dataset.limit = dataloader.test.dataset.limit = 8
dataloader.test.dataset.names = dataloader.train.dataset.names
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 1
_multi_scale.short_sides, _multi_scale.max_size = (64, 96, 128, 160, 192, 224), 896
train.test_time_augmentation.wrapper = _multi_scale
optimizer.lr = 3e-3
train.backbone_only = True
train.max_iter = 400
train.eval_period = train.checkpoint_period = 100

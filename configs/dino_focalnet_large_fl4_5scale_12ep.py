"""DINO with FocalNet-L (4 focal levels, 5 feature scales) on COCO boxes, 12 epochs.

The published run had 8 GPUs with 2 images each.
Command: python train_net.py --config-file dino_focalnet_large_fl4_5scale_12ep --num-gpus 8
    train.init_checkpoint=focalnet_large_lrf_384_fl4.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection import dataloader
from .common.data.coco_detection import multi_scale as _multi_scale
from .common.focalnet import focalnet_large_fl4 as _focalnet
from .common.models.dino import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_12ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="the configuration file of FocalNet-DINO, which names no AP",
    start=WeightRef(file="focalnet_large_lrf_384_fl4.pth"),
    num_gpus=8,
)

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True  # less memory, same numbers
model.backbone.num_levels = 5
train.max_iter = 88_716  # 12 epochs of 118,287 images at batch 16
train.test_time_augmentation.wrapper = _multi_scale

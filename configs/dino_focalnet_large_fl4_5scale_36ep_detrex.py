"""DINO with FocalNet-L (4 focal levels, 5 feature scales) on COCO boxes, 36 epochs, as detrex trains it.

Command: python train_net.py --config-file dino_focalnet_large_fl4_5scale_36ep_detrex
    --num-gpus 8 train.init_checkpoint=focalnet_large_lrf_384_fl4.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection import dataloader
from .common.data.coco_detection import multi_scale as _multi_scale
from .common.focalnet import focalnet_large_fl4 as _focalnet
from .common.models.dino_detrex import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_36ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="the configuration file of detrex, which names no AP",
    start=WeightRef(file="focalnet_large_lrf_384_fl4.pth"),
    num_gpus=8,
)
model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.4
model.backbone.bottom_up.normalize_modulator = False  # unlike the classifier it starts from, hence:
train.keep_settings = True
model.backbone.num_levels = 5
optimizer.decay_rule = "detectron2"
dataloader.train.dataset.filter_empty = True  # Detectron2's default
train.max_iter = 270_000
train.test_time_augmentation.wrapper = _multi_scale

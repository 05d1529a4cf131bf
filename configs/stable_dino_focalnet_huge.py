"""Stable-DINO with FocalNet-H (4 focal levels, 5 feature scales) on COCO boxes, from Objects365, at 1200 pixels.

A review of the paper has 1.5 times the size, 1000 denoising queries and a class weight of 6. No source states the rest,
nor whether the result needs suppression: rate, epochs, batch, scales and drop path are those of dino_focalnet_huge.
Command: python train_net.py --config-file stable_dino_focalnet_huge --num-gpus 8 train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection_1200 import dataloader
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.stable_dino import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_12ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="arXiv:2304.13027, system comparison", start=WeightRef(recipe="stable_dino_focalnet_huge_objects365"),
    expected={"bbox/AP": 64.6, "bbox/AP (test-dev)": 64.8}, num_gpus=8,
)  # fmt: skip
model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
model.denoising.dn_number = 1000
optimizer.lr = 6e-5
train.max_iter = 88_716  # 12 epochs of 118,287 images at batch 16
train.new_classes = True  # for training; --eval-only loads all rows

"""Mask R-CNN with FocalNet-B (3 focal levels) on COCO, 12 epochs.

It is also listed in the README of FocalNet.
Command: python train_net.py --config-file mask_rcnn_focalnet_base_lrf_1x
    --num-gpus 8 train.init_checkpoint=focalnet_base_lrf.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection import multi_scale as _multi_scale
from .common.data.coco_instance_800 import dataloader
from .common.focalnet import focalnet_base_lrf as _focalnet
from .common.models.mask_rcnn import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import coco_1x as lr_multiplier
from .common.train import rcnn_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, table 6",
    start=WeightRef(file="focalnet_base_lrf.pth"),
    expected={"bbox/AP": 49.0, "segm/AP": 43.5},
    num_gpus=8,
)

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.focal_windows = (9, 9, 9, 9)
model.backbone.bottom_up.drop_path_rate = 0.3
train.test_time_augmentation.wrapper = _multi_scale

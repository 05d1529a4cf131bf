"""Mask R-CNN with deeper, thinner FocalNet-B (3 focal levels) on COCO, 12 epochs.

The third focal level starts from zero.
Command: python train_net.py --config-file mask_rcnn_focalnet_base_deeper_lrf_1x
    --num-gpus 8 train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection import multi_scale as _multi_scale
from .common.data.coco_instance_800 import dataloader
from .common.focalnet import focalnet_base_deeper_lrf as _focalnet
from .common.models.mask_rcnn import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import coco_1x as lr_multiplier
from .common.train import rcnn_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, tables 20 to 22",
    start=WeightRef(unpublished="a classifier of this size with 2 focal levels, which is not published"),
    expected={"bbox/AP": 49.9, "segm/AP": 44.2},
    num_gpus=8,
)

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.focal_windows = (9, 9, 9, 9)
model.backbone.bottom_up.drop_path_rate = 0.3
train.test_time_augmentation.wrapper = _multi_scale

"""Mask R-CNN with deeper, thinner FocalNet-T (2 focal levels) on COCO, 12 epochs.

Command: python train_net.py --config-file mask_rcnn_focalnet_tiny_deeper_srf_1x
    --num-gpus 8 train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection import multi_scale as _multi_scale
from .common.data.coco_instance_800 import dataloader
from .common.focalnet import focalnet_tiny_deeper_srf as _focalnet
from .common.models.mask_rcnn import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import coco_1x as lr_multiplier
from .common.train import rcnn_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, tables 20 to 22",
    start=WeightRef(unpublished="an ImageNet-1K classifier of this network, which is not published"),
    expected={"bbox/AP": 46.8, "segm/AP": 41.9},
    num_gpus=8,
)

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.focal_windows = (9, 9, 9, 9)
model.backbone.bottom_up.drop_path_rate = 0.2
train.test_time_augmentation.wrapper = _multi_scale

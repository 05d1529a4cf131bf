"""DINO with FocalNet-H (4 focal levels, 5 feature scales) on COCO boxes, from Objects365, 12 epochs at 1200 pixels.

No source states scales, batch, drop path or denoising queries, nor the scales of the published test-time augmentation.
The class heads start afresh.
Command: python train_net.py --config-file dino_focalnet_huge --num-gpus 8 train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection_1200 import dataloader
from .common.data.coco_detection_1200 import multi_scale as _multi_scale
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.dino import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_12ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="arXiv:2203.11926, system comparison", start=WeightRef(recipe="dino_focalnet_huge_objects365"),
    expected={"bbox/AP": 64.0, "bbox/AP (test-dev)": 64.1, "bbox/AP (TTA)": 64.2, "bbox/AP (test-dev, TTA)": 64.4},
    num_gpus=8,
)  # fmt: skip
model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
optimizer.lr = 6e-5
train.max_iter = 88_716  # 12 epochs of 118,287 images at batch 16
train.new_classes = True  # for training; --eval-only loads all rows
train.test_time_augmentation.wrapper = _multi_scale

"""DINO with FocalNet-L (4 focal levels, 5 feature scales) on COCO boxes, from Objects365, 12 epochs at 1200 pixels.

No source states rate, resolution or batch (1e-4, 1200 and 16 here, as in FocalNet-DINO's own files). The class heads
start afresh.
Command: python train_net.py --config-file dino_focalnet_large_fl4_objects365_to_coco --num-gpus 8
    train.init_checkpoint=focalnet_large_fl4_pretrained_on_o365.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection_1200 import dataloader
from .common.data.coco_detection_1200 import multi_scale as _multi_scale
from .common.focalnet import focalnet_large_fl4 as _focalnet
from .common.models.dino import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_12ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="FocalNet-DINO", start=WeightRef(file="focalnet_large_fl4_pretrained_on_o365.pth"),
    expected={"bbox/AP": 63.5}, num_gpus=8,
)  # fmt: skip

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
train.max_iter = 88_716  # 12 epochs of 118,287 images at batch 16
train.new_classes = True  # for training; --eval-only loads all rows
train.test_time_augmentation.wrapper = _multi_scale

"""Stable-DINO with FocalNet-L (4 focal levels, 4 feature scales) on COCO boxes, 12 epochs, trained as its ResNet-50.

No source has this network.
Command: python train_net.py --config-file stable_dino_focalnet_large_fl4_4scale_12ep
    --num-gpus 8 train.init_checkpoint=focalnet_large_lrf_384_fl4.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection import dataloader
from .common.data.coco_detection import multi_scale as _multi_scale
from .common.focalnet import focalnet_large_fl4 as _focalnet
from .common.models.stable_dino import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_12ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="the configuration of Stable-DINO's ResNet-50",
    start=WeightRef(file="focalnet_large_lrf_384_fl4.pth"),
    num_gpus=8,
)
model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.out_features = ("res3", "res4", "res5")
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.normalize_modulator = False  # unlike the classifier it starts from, hence:
train.keep_settings = True
optimizer.decay_rule = "detectron2"
dataloader.train.dataset.filter_empty = True  # Detectron2's default
train.test_time_augmentation.wrapper = _multi_scale

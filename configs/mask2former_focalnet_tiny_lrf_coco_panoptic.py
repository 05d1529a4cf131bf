"""Mask2Former with FocalNet-T (3 focal levels) for COCO panoptic segmentation, 100 queries, 50 epochs.

No result is published.
Command: python train_net.py --config-file mask2former_focalnet_tiny_lrf_coco_panoptic --num-gpus 8
    train.init_checkpoint=focalnet_tiny_lrf.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_panoptic import dataloader
from .common.focalnet import focalnet_tiny_lrf as _focalnet
from .common.models.mask2former import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import coco_50ep as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(
    source="settings of Mask2Former's Swin-T with the backbone replaced",
    start=WeightRef(file="focalnet_tiny_lrf.pth"),
    num_gpus=8,
)

model.backbone = _focalnet
model.backbone.drop_path_rate = 0.3
train.max_iter = 368_750  # 50 epochs of 118,000 images at batch 16

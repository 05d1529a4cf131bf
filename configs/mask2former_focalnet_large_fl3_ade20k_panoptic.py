"""Mask2Former with FocalNet-L (3 focal levels) for ADE20K panoptic segmentation, 200 queries, 160,000 iterations.

No result is published.
Command: python train_net.py --config-file mask2former_focalnet_large_fl3_ade20k_panoptic --num-gpus 8
    train.init_checkpoint=focalnet_large_lrf_384.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.ade20k_panoptic import dataloader
from .common.focalnet import focalnet_large_fl3 as _focalnet
from .common.models.mask2former_ade20k_panoptic import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import polynomial as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(
    source="settings of Mask2Former's Swin-L with the backbone replaced",
    start=WeightRef(file="focalnet_large_lrf_384.pth"),
    num_gpus=8,
)

model.backbone = _focalnet
model.backbone.drop_path_rate = 0.3
model.decoder.num_queries = 200
train.max_iter = 160_000

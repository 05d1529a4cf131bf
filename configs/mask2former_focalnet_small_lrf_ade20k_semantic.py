"""Mask2Former with FocalNet-S (3 focal levels) for ADE20K semantic segmentation, 100 queries, 160,000 iterations.

No result is published.
Command: python train_net.py --config-file mask2former_focalnet_small_lrf_ade20k_semantic --num-gpus 8
    train.init_checkpoint=focalnet_small_lrf.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.ade20k_semantic import dataloader
from .common.data.ade20k_semantic import multi_scale as _multi_scale
from .common.focalnet import focalnet_small_lrf as _focalnet
from .common.models.mask2former_ade20k_semantic import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import polynomial as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(
    source="settings of Mask2Former's Swin-S with the backbone replaced",
    start=WeightRef(file="focalnet_small_lrf.pth"),
    num_gpus=8,
)

model.backbone = _focalnet
model.backbone.drop_path_rate = 0.3
train.best_metric = "sem_seg/mIoU"
train.test_time_augmentation.wrapper = _multi_scale
train.max_iter = 160_000

"""Sparse R-CNN (300 proposals) with FocalNet-T (2 focal levels) on COCO boxes, 36 epochs, as mmdetection trains it.

The classifier's kernels grow; the added rings start from zero.
Command: python train_net.py --config-file sparse_rcnn_focalnet_tiny_srf_3x --num-gpus 8
    train.init_checkpoint=focalnet_tiny_srf.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection_mm import dataloader
from .common.focalnet import focalnet_tiny_srf as _focalnet
from .common.models.sparse_rcnn import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import coco_3x as lr_multiplier
from .common.train import mm_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, table 7", start=WeightRef(file="focalnet_tiny_srf.pth"),
    expected={"bbox/AP": 49.6, "bbox/AP50": 69.1, "bbox/AP75": 54.2}, num_gpus=8,
)  # fmt: skip

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.focal_windows = (11, 9, 9, 7)
model.backbone.bottom_up.drop_path_rate = 0.3
optimizer.lr = 2.5e-5
optimizer.weight_decay = 1e-4
optimizer.decay_rule = "all"
train.amp = "off"
train.clip_norm = 1.0
train.max_iter = 263_880

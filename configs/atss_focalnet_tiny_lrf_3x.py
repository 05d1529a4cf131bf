"""ATSS with FocalNet-T (3 focal levels) on COCO boxes, 36 epochs, as mmdetection trains it.

Source: arXiv:2203.11926, table 7.
Start: focalnet_tiny_lrf.pth (ImageNet-1K classifier; kernels grow, the added rings start from zero).
Expected: box AP 49.6 (AP50 68.7, AP75 54.5), published, val2017.
Command: python train_net.py --config-file atss_focalnet_tiny_lrf_3x --num-gpus 8
    train.init_checkpoint=focalnet_tiny_lrf.pth
"""

from .common.data.coco_detection_mm import dataloader
from .common.focalnet import focalnet_tiny_lrf as _focalnet
from .common.models.atss import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import coco_3x as lr_multiplier
from .common.train import mm_train as train

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.out_features = ("res3", "res4", "res5")
model.backbone.bottom_up.focal_windows = (11, 9, 9, 7)
model.backbone.bottom_up.drop_path_rate = 0.3
train.max_iter = 263_880

"""Mask R-CNN with deeper, thinner FocalNet-T (2 focal levels) on COCO, 12 epochs.

Source: arXiv:2203.11926, tables 20 to 22.
Start: an ImageNet-1K classifier of this network, which is not published.
Expected, published: box AP 46.8, mask AP 41.9 (val2017, no test-time augmentation).
Command: python train_net.py --config-file mask_rcnn_focalnet_tiny_deeper_srf_1x
    --num-gpus 8 train.init_checkpoint=FILE
At several scales: the same with --eval-only, a trained file and train.test_time_augmentation.enabled=True
"""

from .common.data.coco_detection import multi_scale as _multi_scale
from .common.data.coco_instance_800 import dataloader
from .common.focalnet import focalnet_tiny_deeper_srf as _focalnet
from .common.models.mask_rcnn import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import coco_1x as lr_multiplier
from .common.train import rcnn_train as train

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.focal_windows = (9, 9, 9, 9)
model.backbone.bottom_up.drop_path_rate = 0.2
train.test_time_augmentation.wrapper = _multi_scale

"""Mask2Former with FocalNet-L (3 focal levels) for ADE20K semantic segmentation, 100 queries, 160,000 iterations.

Source: arXiv:2203.11926, table 9. Not stated by any source: schedule, crop, queries and drop path (those of
Mask2Former's Swin-L here), focal levels and windows (those of the released classifier here).
Start: focalnet_large_lrf_384.pth (ImageNet-22K classifier).
Expected, published: mIoU 57.3 at one scale, mIoU 58.5 at several (validation).
Command: python train_net.py --config-file mask2former_focalnet_large_fl3_ade20k_semantic --num-gpus 8
    train.init_checkpoint=focalnet_large_lrf_384.pth
At several scales: the same with --eval-only, a trained file and train.test_time_augmentation.enabled=True
"""

from .common.data.ade20k_semantic_640 import dataloader
from .common.data.ade20k_semantic_640 import multi_scale as _multi_scale
from .common.focalnet import focalnet_large_fl3 as _focalnet
from .common.models.mask2former_ade20k_semantic import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import polynomial as lr_multiplier
from .common.train import mask2former_train as train

model.backbone = _focalnet
model.backbone.drop_path_rate = 0.3
train.best_metric = "sem_seg/mIoU"
train.test_time_augmentation.wrapper = _multi_scale
train.max_iter = 160_000

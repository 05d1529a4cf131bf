"""DINO with FocalNet-H (4 focal levels, 5 feature scales) on COCO boxes, from Objects365, 12 epochs at 1200 pixels.

Source: arXiv:2203.11926, system comparison. Not stated by any source: scales, batch, drop path, denoising queries.
Start: the weights of dino_focalnet_huge_objects365; the class heads start afresh.
Expected, published: box AP 64.0 val2017 and 64.1 test-dev; 64.2 and 64.4 with test-time augmentation.
Command: python train_net.py --config-file dino_focalnet_huge --num-gpus 8 train.init_checkpoint=FILE
To evaluate: the same with --eval-only and a file fine-tuned on COCO.
At several scales (no source states the published ones): also train.test_time_augmentation.enabled=True
"""

from .common.data.coco_detection_1200 import dataloader
from .common.data.coco_detection_1200 import multi_scale as _multi_scale
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.dino import model
from .common.optim import adamw as optimizer
from .common.schedules import coco_12ep as lr_multiplier
from .common.train import train

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
optimizer.lr = 6e-5
train.max_iter = 88_716  # 12 epochs of 118,287 images at batch 16
train.new_classes = True  # for training; --eval-only loads all rows
train.test_time_augmentation.wrapper = _multi_scale

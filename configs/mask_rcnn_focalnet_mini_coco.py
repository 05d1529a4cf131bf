"""Small Mask R-CNN with a small FocalNet that learns the first 8 COCO images with objects by heart, at 256 pixels.

Source: this project; a check of the whole path on real images, not a published network.
Start: the backbone of weights/dino_focalnet_mini_day.safetensors (drawn scenes); the rest starts afresh.
Command: python train_net.py --config-file mask_rcnn_focalnet_mini_coco train.init_checkpoint=FILE
"""

from .common.data.coco_instance_mini import dataloader
from .common.models.mask_rcnn_mini import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import rcnn_train as train

optimizer.lr = 4e-4
train.backbone_only = True
train.max_iter = 300
train.eval_period = train.checkpoint_period = 100

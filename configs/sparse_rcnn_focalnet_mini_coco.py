"""Small Sparse R-CNN with a small FocalNet that learns the first 8 COCO training images by heart, at 256 pixels.

Source: this project; a check of the whole path on real images, not a published network.
Start: the backbone of weights/dino_focalnet_mini_day.safetensors (drawn scenes); the rest starts afresh.
Command: python train_net.py --config-file sparse_rcnn_focalnet_mini_coco train.init_checkpoint=FILE
"""

from .common.data.coco_detection_mini import dataloader
from .common.models.sparse_rcnn_mini import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mm_train as train

optimizer.lr = 5e-4
optimizer.weight_decay = 1e-4
optimizer.decay_rule = "all"
train.backbone_only = True
train.clip_norm = 1.0
train.max_iter = 600
train.eval_period = train.checkpoint_period = 200

"""Small DINO with a small FocalNet that learns the first 8 COCO training images with objects by heart, at 256 pixels.

Source: this project; a check of the whole path on real images, not a published network.
Start: the weights of dino_focalnet_mini_quickstart; all class rows start afresh.
Command: python train_net.py --config-file dino_focalnet_mini_coco train.init_checkpoint=FILE
"""

from .common.data.coco_detection_mini import dataloader
from .common.models.dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.max_iter = 600
train.new_classes = True
train.eval_period = 200
train.checkpoint_period = 200

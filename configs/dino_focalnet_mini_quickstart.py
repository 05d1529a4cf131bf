"""Small DINO with a small FocalNet, from random weights, on the project's generated images.

Source: this project; not a published network, no setting is from a paper.   Start: random weights.
Command: python train_net.py --config-file dino_focalnet_mini_quickstart
At several scales: the same with --eval-only, a trained file and train.test_time_augmentation.enabled=True
"""

from .common.data.generated_detection import dataloader
from .common.data.generated_detection import multi_scale as _multi_scale
from .common.models.dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

model.num_classes = 8
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0  # nothing is pre-trained
train.max_iter = 6500
train.eval_period = 1000
train.checkpoint_period = 500
train.ema.enabled = True
train.ema.decay = 0.999
train.test_time_augmentation.wrapper = _multi_scale

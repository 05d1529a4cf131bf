"""Small Stable-DINO with a small FocalNet, from random weights, on the project's generated images.

Not a published network: no setting is from a paper.
Command: python train_net.py --config-file stable_dino_focalnet_mini_quickstart
"""

from focalnet_d2.config.recipe_info import RecipeInfo

from .common.data.generated_detection import dataloader
from .common.data.generated_detection import multi_scale as _multi_scale
from .common.models.stable_dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

_about = RecipeInfo(source="this project")

model.num_classes = 8
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0  # nothing is pre-trained
train.max_iter = 6500
train.eval_period = 1000
train.checkpoint_period = 500
train.ema.enabled = True
train.ema.decay = 0.999
train.test_time_augmentation.wrapper = _multi_scale

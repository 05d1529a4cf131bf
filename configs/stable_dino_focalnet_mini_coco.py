"""Small Stable-DINO with a small FocalNet that overfits the first 8 COCO training images with objects at 256 pixels.

A check of the whole path on real images, not a published network. All class rows start afresh.
Command: python train_net.py --config-file stable_dino_focalnet_mini_coco train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection_mini import dataloader
from .common.models.stable_dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))

optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.max_iter = 600
train.new_classes = True
train.eval_period = 200
train.checkpoint_period = 200

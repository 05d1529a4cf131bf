"""Small DINO with a small FocalNet on the balloon set, one class, at 256 pixels.

Not a published network: no setting is from a paper. The class list is a new one. Training also works from random
weights.
Command: python train_net.py --config-file dino_focalnet_mini_balloon train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.balloon_detection import dataloader
from .common.models.dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))

model.num_classes = 1
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.max_iter = 400
train.new_classes = True
train.eval_period = 200
train.checkpoint_period = 200

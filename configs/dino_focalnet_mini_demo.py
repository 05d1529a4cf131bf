"""Small DINO with a small FocalNet: the shipped quick-start weights, fine-tuned on generated images of another style.

Not a published network: no setting is from a paper. Classes are taken over by name.
Command: python train_net.py --config-file dino_focalnet_mini_demo train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.generated_detection import dataloader
from .common.models.dino_mini import model
from .common.optim import adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))

model.num_classes = 5
optimizer.lr = 3e-4
optimizer.lr_factor.factor = 1.0
train.max_iter = 450
train.new_classes = True
train.eval_period = 0
train.checkpoint_period = 0
train.log_period = 20

"""Small Mask2Former with a small FocalNet: the shipped weights, fine-tuned on generated images of another style.

Not a published network: no setting is from a paper. Classes are taken over by name.
Command: python train_net.py --config-file mask2former_focalnet_mini_demo train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.generated_panoptic import dataloader
from .common.models.mask2former_mini import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="mask2former_focalnet_mini_quickstart"))

model.num_classes = 10
model.inference.thing_ids = tuple(range(5))
optimizer.lr = 3e-4
optimizer.lr_factor.factor = 1.0
train.new_classes = True
train.max_iter = 250
train.clip_norm = 0.1
train.eval_period = 0
train.checkpoint_period = 0

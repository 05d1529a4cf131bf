"""Small Mask2Former with a small FocalNet on the project's generated images: things and stuff, 13 classes.

Not a published network: no setting is from a paper. Only the backbone of the starting weights is taken; the rest starts
afresh.
Command: python train_net.py --config-file mask2former_focalnet_mini_quickstart train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.generated_panoptic import dataloader
from .common.models.mask2former_mini import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))

model.num_classes = 13
model.inference.thing_ids = tuple(range(8))
optimizer.lr = 4e-4
optimizer.lr_factor.factor = 1.0
train.backbone_only = True
train.max_iter = 4000
train.clip_norm = 0.1
train.eval_period = 0
train.checkpoint_period = 500
train.ema.enabled = True
train.ema.decay = 0.999

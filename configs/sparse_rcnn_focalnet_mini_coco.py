"""Small Sparse R-CNN with a small FocalNet that overfits the first 8 COCO training images at 256 pixels.

A check of the whole path on real images, not a published network. Only the backbone of the starting weights is taken;
the rest starts afresh.
Command: python train_net.py --config-file sparse_rcnn_focalnet_mini_coco train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_detection_mini import dataloader
from .common.models.sparse_rcnn_mini import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import mm_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))

optimizer.lr = 5e-4
optimizer.weight_decay = 1e-4
optimizer.decay_rule = "all"
train.backbone_only = True
train.clip_norm = 1.0
train.max_iter = 600
train.eval_period = train.checkpoint_period = 200

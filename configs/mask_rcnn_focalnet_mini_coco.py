"""Small Mask R-CNN with a small FocalNet that overfits the first 8 COCO images with objects at 256 pixels.

A check of the whole path on real images, not a published network. Only the backbone of the starting weights is taken;
the rest starts afresh.
Command: python train_net.py --config-file mask_rcnn_focalnet_mini_coco train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_instance_mini import dataloader
from .common.models.mask_rcnn_mini import model
from .common.optim import mm_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import rcnn_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))

optimizer.lr = 4e-4
train.backbone_only = True
train.max_iter = 300
train.eval_period = train.checkpoint_period = 100

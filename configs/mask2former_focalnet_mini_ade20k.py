"""Small Mask2Former with a small FocalNet on ADE20K's classes at 128 pixels: a few steps, to see that all parts work.

Command: python train_net.py --config-file mask2former_focalnet_mini_ade20k train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.ade20k_semantic import dataloader
from .common.data.ade20k_semantic import multi_scale as _multi_scale
from .common.models.mask2former_mini import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import polynomial as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"))
model.num_classes = 150
model.inference.thing_ids = ()
model.inference.panoptic = model.inference.instance = None
dataloader.train.mapper.augmentations[0].size = 128
dataloader.test.mapper.augmentations[0].short_edge_length = 128
dataloader.test.mapper.augmentations[0].max_size = 512
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 1
optimizer.lr_factor.factor = 1.0
train.backbone_only = True
train.max_iter = 60
train.eval_period = 0
train.best_metric = "sem_seg/mIoU"
_multi_scale.short_sides, _multi_scale.max_size = (64, 96, 128, 160, 192, 224), 896
train.test_time_augmentation.wrapper = _multi_scale

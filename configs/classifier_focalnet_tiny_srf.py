"""FocalNet-T (2 focal levels) on ImageNet-1K at 224 pixels, 300 epochs.

Command: python train_net.py --config-file classifier_focalnet_tiny_srf --num-gpus 8
"""

from focalnet_d2.config.recipe_info import RecipeInfo

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_tiny_srf as _focalnet
from .common.models.classifier import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import imagenet_300ep as lr_multiplier
from .common.train import imagenet_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, table 18 and its ImageNet-1K results", expected={"classification/top1": 82.1}, num_gpus=8
)

model.backbone = _focalnet
model.backbone.out_features = ("res5",)
model.backbone.drop_path_rate = 0.2

"""FocalNet-H (4 focal levels) with its ImageNet-22K head, scored on ImageNet-1K at 224 pixels.

The drop path is that of the released settings. No accuracy is published. The classes of ImageNet-1K come first in the
head, which lacks class 850.
Command: python train_net.py --config-file classifier_focalnet_huge_fl4_22k_224 --eval-only
    train.init_checkpoint=focalnet_huge_lrf_224_fl4.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.classifier_22k import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import imagenet_300ep as lr_multiplier
from .common.train import imagenet_train as train

_about = RecipeInfo(
    source="the released FocalNet files", start=WeightRef(file="focalnet_huge_lrf_224_fl4.pth"), evaluation_only=True
)

model.backbone = _focalnet
model.backbone.out_features = ("res5",)
model.backbone.drop_path_rate = 0.5
dataloader.evaluator.first_classes = 1000

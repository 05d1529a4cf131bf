"""Small FocalNet that overfits few images at 96 pixels, to check the whole path: image_folder/train/<class>/*.

Command: python train_net.py --config-file classifier_focalnet_mini_folder model.num_classes=NUMBER_OF_FOLDERS
    train.init_checkpoint=FILE
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_mini as _focalnet
from .common.models.classifier import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import imagenet_train as train

_about = RecipeInfo(
    source="this project", start=WeightRef(recipe="dino_focalnet_mini_quickstart"),
    settings="model.num_classes=NUMBER_OF_FOLDERS",
)  # fmt: skip
model.backbone = _focalnet
model.backbone.out_features = ("res5",)
model.mixing = None
model.num_classes = 8
dataloader.test.mapper.transform.size = 96
dataloader.train.mapper.transform = dataloader.test.mapper.transform
dataloader.train.dataset.names = dataloader.test.dataset.names = "image_folder_train"
dataloader.train.total_batch_size = 16
dataloader.train.num_workers = dataloader.test.num_workers = 1
train.backbone_only = True
train.max_iter, train.eval_period, train.checkpoint_period = 400, 100, 100

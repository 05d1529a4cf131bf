"""Small FocalNet that learns a small folder of images by heart, at 96 pixels: image_folder/train/<class>/*.

Source: this project; a check of the whole path on few images, not a published network.
Start: random weights, or the backbone of weights/dino_focalnet_mini_day.safetensors.
Command: python train_net.py --config-file classifier_focalnet_mini_folder model.num_classes=NUMBER_OF_FOLDERS
    train.init_checkpoint=FILE
"""

from detectron2.config import LazyCall as L

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_mini as _focalnet
from .common.models.classifier import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import drop_at_80_percent as lr_multiplier
from .common.train import imagenet_train as train

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
train.max_iter = 400
train.eval_period = train.checkpoint_period = 100

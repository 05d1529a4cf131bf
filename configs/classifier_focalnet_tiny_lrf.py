"""FocalNet-T (3 focal levels) on ImageNet-1K at 224 pixels, 300 epochs.

Source: arXiv:2203.11926, table 18 and its ImageNet-1K results.
Start: random weights.
Expected, published: top-1 82.3 (validation, 224 pixels).
Command: python train_net.py --config-file classifier_focalnet_tiny_lrf --num-gpus 8
To evaluate the released file: the same with --eval-only train.init_checkpoint=focalnet_tiny_lrf.pth
"""

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_tiny_lrf as _focalnet
from .common.models.classifier import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import imagenet_300ep as lr_multiplier
from .common.train import imagenet_train as train

model.backbone = _focalnet
model.backbone.out_features = ("res5",)
model.backbone.drop_path_rate = 0.2

"""FocalNet-L (4 focal levels) with its ImageNet-22K head, scored on ImageNet-1K at 384 pixels.

Source: the released FocalNet files; the drop path is that of their settings. No accuracy is published.
Start: focalnet_large_lrf_384_fl4.pth (ImageNet-22K classifier; classes of ImageNet-1K first, without its class 850).
Command: python train_net.py --config-file classifier_focalnet_large_fl4_22k_384 --eval-only
    train.init_checkpoint=focalnet_large_lrf_384_fl4.pth
"""

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_large_fl4 as _focalnet
from .common.models.classifier_22k import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import imagenet_300ep as lr_multiplier
from .common.train import imagenet_train as train

model.backbone = _focalnet
model.backbone.out_features = ("res5",)
model.backbone.drop_path_rate = 0.5
dataloader.test.mapper.transform.size = 384
dataloader.evaluator.first_classes = 1000

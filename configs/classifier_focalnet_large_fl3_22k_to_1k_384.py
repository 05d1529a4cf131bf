"""FocalNet-L (3 focal levels) from ImageNet-22K to ImageNet-1K at 384 pixels, 30 epochs.

Table 19 states rates, epochs, batch, weight decay, drop path and no mixup. No source states the warm-up (none here) or
the gradient clipping (that of ImageNet-1K here). The first 1000 class rows of the classifier are taken.
Command: python train_net.py --config-file classifier_focalnet_large_fl3_22k_to_1k_384 --num-gpus 8
    train.init_checkpoint=focalnet_large_lrf_384.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.imagenet import dataloader
from .common.focalnet import focalnet_large_fl3 as _focalnet
from .common.models.classifier import model
from .common.optim import imagenet_adamw as optimizer
from .common.schedules import imagenet_30ep as lr_multiplier
from .common.train import imagenet_train as train

_about = RecipeInfo(source="arXiv:2203.11926, table 19", start=WeightRef(file="focalnet_large_lrf_384.pth"), num_gpus=8)

model.backbone = _focalnet
model.backbone.out_features = ("res5",)
model.backbone.drop_path_rate = 0.3
model.mixing = None
dataloader.test.mapper.transform.size = 384
optimizer.lr = 3e-5
optimizer.weight_decay = 1e-8
train.max_iter = 37_530  # 30 epochs

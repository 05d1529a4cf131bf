"""Stable-DINO with FocalNet-H (4 focal levels, 5 feature scales) on Objects365 v2, 26 epochs.

No source states a setting of this run: scales, epochs, rate, batch and drop path are those of the nearest published
network, dino_focalnet_huge_objects365.
Command: python train_net.py --config-file stable_dino_focalnet_huge_objects365 --num-gpus 8 --num-machines 8
    --machine-rank R --dist-url tcp://HOST:PORT train.init_checkpoint=focalnet_huge_lrf_224_fl4.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.objects365_detection import dataloader
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.stable_dino import model
from .common.optim import adamw as optimizer
from .common.schedules import objects365_26ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="arXiv:2304.13027, system comparison", start=WeightRef(file="focalnet_huge_lrf_224_fl4.pth"),
    num_gpus=8, num_machines=8,
)  # fmt: skip
model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
model.num_classes = 365
dataloader.train.total_batch_size = 64
train.max_iter = 708_000  # 26 epochs of 1.742 million images

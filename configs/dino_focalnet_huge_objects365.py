"""DINO with FocalNet-H (4 focal levels, 5 feature scales) on Objects365 v2, 26 epochs.

The paper states 26 epochs, rate 1e-4, a tenth after 24, and 800 pixels; it names no AP. No source states scales, batch
(64 as in DINO's Swin-L run), drop path or denoising queries. The published run also trained on 75,000 validation
images; this recipe does not.
Command: python train_net.py --config-file dino_focalnet_huge_objects365 --num-gpus 8 --num-machines 8
    --machine-rank R --dist-url tcp://HOST:PORT train.init_checkpoint=focalnet_huge_lrf_224_fl4.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.objects365_detection import dataloader
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.dino import model
from .common.optim import adamw as optimizer
from .common.schedules import objects365_26ep as lr_multiplier
from .common.train import train

_about = RecipeInfo(
    source="arXiv:2203.11926, system comparison", start=WeightRef(file="focalnet_huge_lrf_224_fl4.pth"),
    num_gpus=8, num_machines=8,
)  # fmt: skip

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
model.num_classes = 365
dataloader.train.total_batch_size = 64
train.max_iter = 708_000  # 26 epochs of 1.742 million images

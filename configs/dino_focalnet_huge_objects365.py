"""DINO with FocalNet-H (4 focal levels, 5 feature scales) on Objects365 v2, 26 epochs.

Source: arXiv:2203.11926, system comparison: 26 epochs, rate 1e-4, a tenth after 24, 800 pixels; no AP named.
Not stated by any source: scales, batch (64 as DINO's Swin-L run), drop path, denoising queries. The published run
also trained on 75,000 validation images; this recipe does not.
Start: focalnet_huge_lrf_224_fl4.pth (ImageNet-22K classifier).
Command: python train_net.py --config-file dino_focalnet_huge_objects365 --num-gpus 8 --num-machines 8
    --machine-rank R --dist-url tcp://HOST:PORT train.init_checkpoint=focalnet_huge_lrf_224_fl4.pth
"""

from .common.data.objects365_detection import dataloader
from .common.focalnet import focalnet_huge_fl4 as _focalnet
from .common.models.dino import model
from .common.optim import adamw as optimizer
from .common.schedules import objects365_26ep as lr_multiplier
from .common.train import train

model.backbone.bottom_up = _focalnet
model.backbone.bottom_up.drop_path_rate = 0.3
model.backbone.bottom_up.use_checkpoint = True
model.backbone.num_levels = 5
model.num_classes = 365
dataloader.train.total_batch_size = 64
train.max_iter = 708_000  # 26 epochs of 1.742 million images

"""Mask2Former with FocalNet-L (3 focal levels) for ADE20K semantic segmentation, 100 queries, 160,000 iterations.

No source states schedule, crop, queries and drop path (those of Mask2Former's Swin-L here) or focal levels and windows
(those of the released classifier here).
Command: python train_net.py --config-file mask2former_focalnet_large_fl3_ade20k_semantic --num-gpus 8
    train.init_checkpoint=focalnet_large_lrf_384.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.ade20k_semantic_640 import dataloader
from .common.data.ade20k_semantic_640 import multi_scale as _multi_scale
from .common.focalnet import focalnet_large_fl3 as _focalnet
from .common.models.mask2former_ade20k_semantic import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import polynomial as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, table 9",
    start=WeightRef(file="focalnet_large_lrf_384.pth"),
    expected={"sem_seg/mIoU": 57.3, "sem_seg/mIoU (TTA)": 58.5},
    num_gpus=8,
)

model.backbone = _focalnet
model.backbone.drop_path_rate = 0.3
train.best_metric = "sem_seg/mIoU"
train.test_time_augmentation.wrapper = _multi_scale
train.max_iter = 160_000

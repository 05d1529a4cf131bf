"""Mask2Former with FocalNet-L (3 focal levels) for COCO panoptic segmentation, 200 queries, 100 epochs.

No source states schedule and drop path (those of Mask2Former's Swin-L here) or focal levels and windows (those of the
released classifier here).
Command: python train_net.py --config-file mask2former_focalnet_large_fl3_coco_panoptic --num-gpus 8
    train.init_checkpoint=focalnet_large_lrf_384.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.coco_panoptic import dataloader
from .common.focalnet import focalnet_large_fl3 as _focalnet
from .common.models.mask2former import model
from .common.optim import mask2former_adamw as optimizer
from .common.schedules import coco_100ep as lr_multiplier
from .common.train import mask2former_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, table 10",
    start=WeightRef(file="focalnet_large_lrf_384.pth"),
    expected={"panoptic_seg/PQ": 57.9, "segm/AP": 48.4, "sem_seg/mIoU": 67.3},
    num_gpus=8,
)

model.backbone = _focalnet
model.backbone.drop_path_rate = 0.3
model.decoder.num_queries = 200
train.max_iter = 737_500  # 100 epochs of 118,000 images at batch 16

"""UPerNet with FocalNet-B (2 focal levels) for ADE20K semantic segmentation, 160,000 iterations.

The classifier's windows grow to 9.
Command: python train_net.py --config-file upernet_focalnet_base_srf --num-gpus 8
    train.init_checkpoint=focalnet_base_srf.pth
"""

from focalnet_d2.config.recipe_info import RecipeInfo, WeightRef

from .common.data.ade20k_upernet import dataloader
from .common.data.ade20k_upernet import multi_scale as _multi_scale
from .common.focalnet import focalnet_base_srf as _focalnet
from .common.models.upernet import model
from .common.optim import upernet_adamw as optimizer
from .common.schedules import linear_decay as lr_multiplier
from .common.train import upernet_train as train

_about = RecipeInfo(
    source="arXiv:2203.11926, table 8, and FocalNet's mmsegmentation config",
    start=WeightRef(file="focalnet_base_srf.pth"),
    expected={"sem_seg/mIoU": 50.2, "sem_seg/mIoU (TTA)": 51.1},
    num_gpus=8,
)

model.backbone = _focalnet
model.backbone.focal_windows = (9, 9, 9, 9)
model.backbone.drop_path_rate = 0.3
train.test_time_augmentation.wrapper = _multi_scale

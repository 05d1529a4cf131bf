"""ADE20K semantic for UPerNet at 512 pixels (MMSEG-512); test images fit into 2048 x 512, whichever side is longer.

`multi_scale` is the published test-time augmentation: 0.5 to 1.75 times the size, each also flipped. In mmsegmentation
the limit of the longer side has the same factors, which concerns images more than four times as long as wide.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.data.mappers import SemanticSegMapper
from focalnet_d2.data.segmentation_transforms import mmseg_crop

from .ade20k_semantic import dataloader, multi_scale

dataloader.train.mapper.augmentations = [L(mmseg_crop)(size=512)]
dataloader.train.mapper._target_ = dataloader.test.mapper._target_ = SemanticSegMapper

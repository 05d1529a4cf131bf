"""ADE20K semantic at 640 pixels (ADE-640); test images 640, at most 2560."""

from .ade20k_semantic import dataloader, multi_scale

dataloader.train.mapper.augmentations[0].size = 640
dataloader.test.mapper.augmentations[0].short_edge_length = 640
dataloader.test.mapper.augmentations[0].max_size = 2560
multi_scale.short_sides = (320, 480, 640, 800, 960, 1120)
multi_scale.max_size = 4480

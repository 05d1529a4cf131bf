"""The generated images (`focalnet-d2 generate`), panoptic, at 160 pixels."""

from detectron2.config import LazyCall as L

from focalnet_d2.data.segmentation_transforms import lsj

from .coco_panoptic import dataloader

dataloader.train.dataset.names = "generated_train_panoptic"
dataloader.train.mapper.augmentations = [L(lsj)(size=160, min_scale=0.8, max_scale=1.6)]
dataloader.train.total_batch_size = 8
dataloader.train.num_workers = 1
dataloader.test.dataset.names = "generated_val_panoptic"
dataloader.test.mapper.augmentations[0].short_edge_length = 160
dataloader.test.mapper.augmentations[0].max_size = 266
dataloader.test.num_workers = 1

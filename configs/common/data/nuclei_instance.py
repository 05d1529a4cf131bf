"""The nuclei set, one class, up to 125 objects an image, at 256 pixels."""

from detectron2.config import LazyCall as L

from focalnet_d2.data.segmentation_transforms import lsj

from .coco_instance import dataloader

dataloader.train.dataset.names = "nuclei_train"
dataloader.train.mapper.augmentations = [L(lsj)(size=256, min_scale=0.8, max_scale=1.6)]
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = 1
dataloader.test.dataset.names = "nuclei_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 256
dataloader.test.mapper.augmentations[0].max_size = 426
dataloader.test.num_workers = 1
dataloader.evaluator.max_dets = 200

"""The balloon set, one class, at 256 pixels: small enough for a CPU."""

from .coco_detection import dataloader

dataloader.train.dataset.names = "balloon_train"
dataloader.train.mapper.augmentations[0].scale = 0.32
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = 1
dataloader.test.dataset.names = "balloon_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 256
dataloader.test.mapper.augmentations[0].max_size = 427
dataloader.test.num_workers = 1

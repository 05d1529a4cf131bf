"""The generated images (`focalnet-d2 generate`), boxes, at their own 128 pixels."""

from .coco_detection import dataloader, multi_scale

dataloader.train.dataset.names = "generated_train"
dataloader.train.mapper.augmentations[0].scale = 0.16
dataloader.train.total_batch_size = 8
dataloader.train.num_workers = 1
dataloader.test.dataset.names = "generated_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 128
dataloader.test.mapper.augmentations[0].max_size = 213
dataloader.test.num_workers = 1
multi_scale.short_sides = (64, 80, 96, 112, 128, 144, 160, 176, 192)
multi_scale.max_size = 320

"""ADE20K semantic at 512 pixels (ADE-512); test images 512 on the shorter side, at most 2048 on the longer.

`multi_scale` is the published test-time augmentation: 0.5 to 1.75 times the size, each also flipped.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.data.mappers import SemanticMaskMapper
from focalnet_d2.data.segmentation_transforms import ade_crop
from focalnet_d2.evaluation.semantic import SemanticEvaluator
from focalnet_d2.inference.tta import SemanticTTA

from .coco_panoptic import dataloader

dataloader.train.dataset.names = "ade20k_sem_seg_train"
dataloader.train.mapper.augmentations = [L(ade_crop)(size=512)]
dataloader.test.dataset.names = "ade20k_sem_seg_val"
dataloader.test.mapper.augmentations[0].short_edge_length = 512
dataloader.test.mapper.augmentations[0].max_size = 2048
dataloader.train.mapper._target_ = dataloader.test.mapper._target_ = SemanticMaskMapper
dataloader.train.mapper.num_classes = dataloader.test.mapper.num_classes = "${....model.num_classes}"
dataloader.evaluator = L(SemanticEvaluator)(dataset_name="${..test.dataset.names}", output_dir="${...train.output_dir}")
multi_scale = L(SemanticTTA)(short_sides=(256, 384, 512, 640, 768, 896), max_size=3584, flip=True)

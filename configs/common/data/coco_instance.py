"""COCO 2017 objects with masks at 1024 pixels (LSJ-1024), images without objects left out; test images as panoptic."""

from detectron2.config import LazyCall as L

from focalnet_d2.data.mappers import InstanceMapper
from focalnet_d2.evaluation.detection import DetectionEvaluator

from .coco_panoptic import dataloader

dataloader.train.dataset.names = "coco_2017_train"
dataloader.train.dataset.filter_empty = True
dataloader.train.mapper._target_ = dataloader.test.mapper._target_ = InstanceMapper
dataloader.test.dataset.names = "coco_2017_val"
dataloader.evaluator = L(DetectionEvaluator)(
    dataset_name="${..test.dataset.names}",
    output_dir="${...train.output_dir}",
    tasks=("bbox", "segm"),
    max_dets=100,
)

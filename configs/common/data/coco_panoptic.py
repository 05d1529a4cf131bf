"""COCO 2017 panoptic at 1024 pixels (LSJ-1024); test images 800 on the shorter side, at most 1333 on the longer.

Evaluated are PQ, box and mask AP of the things, and mIoU. Segments that a crop empties stay as empty targets.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L
from detectron2.evaluation import DatasetEvaluators

from focalnet_d2.data.catalog import get_segmentation_dataset_dicts
from focalnet_d2.data.loader import build_test_loader, build_train_loader
from focalnet_d2.data.mappers import PanopticMapper
from focalnet_d2.data.segmentation_transforms import lsj
from focalnet_d2.evaluation.detection import DetectionEvaluator
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.evaluation.semantic import SemanticEvaluator

_about = dict(dataset_name="${....test.dataset.names}", output_dir="${.....train.output_dir}")

dataloader = dict(
    train=L(build_train_loader)(
        dataset=L(get_segmentation_dataset_dicts)(names="coco_2017_train_panoptic", filter_empty=False),
        mapper=L(PanopticMapper)(is_train=True, augmentations=[L(lsj)(size=1024)], image_format="RGB"),
        total_batch_size=16,
        num_workers=4,
        seed="${...train.seed}",
    ),
    test=L(build_test_loader)(
        dataset=L(get_segmentation_dataset_dicts)(names="coco_2017_val_panoptic_with_sem_seg"),
        mapper=L(PanopticMapper)(
            is_train=False,
            augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)],
            image_format="RGB",
        ),
        num_workers=4,
        batch_size=1,
    ),
    evaluator=L(DatasetEvaluators)(
        evaluators=[
            L(PanopticEvaluator)(**_about),
            L(DetectionEvaluator)(**_about, tasks=("bbox", "segm"), things_only=True, max_dets=100),
            L(SemanticEvaluator)(**_about),
        ]
    ),
)

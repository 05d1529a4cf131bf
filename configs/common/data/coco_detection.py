"""COCO 2017 boxes at 800 pixels (DETR-800); test images 800 on the shorter side, at most 1333 on the longer.

`multi_scale` is this project's choice of test-time augmentation: no source states the published one. Half to one and a
half times the size, as in Detectron2 (TEST.AUG.MIN_SIZES), each also flipped, and the boxes fused.
"""

import detectron2.data.transforms as T
from detectron2.config import LazyCall as L

from focalnet_d2.data.catalog import get_detection_dataset_dicts
from focalnet_d2.data.loader import build_test_loader, build_train_loader
from focalnet_d2.data.mappers.detection import DetectionMapper
from focalnet_d2.data.transforms import detr_800
from focalnet_d2.evaluation.detection import DetectionEvaluator
from focalnet_d2.inference.box_fusion import WeightedBoxFusion
from focalnet_d2.inference.tta import DetectionTTA

dataloader = dict(
    train=L(build_train_loader)(
        dataset=L(get_detection_dataset_dicts)(names="coco_2017_train", filter_empty=False),
        mapper=L(DetectionMapper)(is_train=True, augmentations=[L(detr_800)()], image_format="RGB"),
        total_batch_size=16,
        num_workers=4,
        seed="${...train.seed}",
    ),
    test=L(build_test_loader)(
        dataset=L(get_detection_dataset_dicts)(names="coco_2017_val"),
        mapper=L(DetectionMapper)(
            is_train=False,
            augmentations=[L(T.ResizeShortestEdge)(short_edge_length=800, max_size=1333)],
            image_format="RGB",
        ),
        num_workers=4,
        batch_size=1,
    ),
    evaluator=L(DetectionEvaluator)(
        dataset_name="${..test.dataset.names}", output_dir="${...train.output_dir}", max_dets=100
    ),
)
multi_scale = L(DetectionTTA)(
    short_sides=(400, 500, 600, 700, 800, 900, 1000, 1100, 1200),
    max_size=2000,
    flip=True,
    fusion=L(WeightedBoxFusion)(),
    top_k=100,
)

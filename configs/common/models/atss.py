"""ATSS with a feature pyramid of strides 8 to 128, as mmdetection trains it (arXiv:1912.02424).

A recipe sets `backbone.bottom_up`; widths and classes are typed once.
"""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone.fpn import FPN

from focalnet_d2.modeling.atss.criterion import ATSSCriterion
from focalnet_d2.modeling.atss.head import ATSSHead, StridedLevels
from focalnet_d2.modeling.atss.model import ATSS

from ..focalnet import focalnet_tiny_lrf as _focalnet

model = L(ATSS)(
    backbone=L(FPN)(
        bottom_up=_focalnet,
        in_features="${.bottom_up.out_features}",
        out_channels=256,
        top_block=L(StridedLevels)(dim="${..out_channels}"),
    ),
    bbox_head=L(ATSSHead)(dim="${..backbone.out_channels}", num_levels=5, num_classes="${..num_classes}", num_convs=4),
    criterion=L(ATSSCriterion)(
        num_classes="${..num_classes}", class_weight=1.0, bbox_weight=2.0, centerness_weight=1.0
    ),
    num_classes=80,
    score_threshold=0.05,
    nms_threshold=0.6,
    candidates_per_level=1000,
    max_detections=100,
)
model.backbone.bottom_up.out_features = ("res3", "res4", "res5")

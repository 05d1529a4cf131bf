"""Sparse R-CNN with 300 proposals and 6 stages, as mmdetection trains it (arXiv:2011.12450).

A recipe sets `backbone.bottom_up`; widths and classes are typed once.
"""

from detectron2.config import LazyCall as L
from detectron2.modeling.backbone.fpn import FPN

from focalnet_d2.modeling.sparse_rcnn.dynamic_head import DynamicHead
from focalnet_d2.modeling.sparse_rcnn.model import SparseRCNN
from focalnet_d2.set_prediction.box_metric import XyxyBoxMetric
from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.matcher import HungarianMatcher

from ..focalnet import focalnet_tiny_lrf as _focalnet

model = L(SparseRCNN)(
    backbone=L(FPN)(bottom_up=_focalnet, in_features=("res2", "res3", "res4", "res5"), out_channels=256),
    head=L(DynamicHead)(
        dim="${..backbone.out_channels}",
        num_proposals=300,
        num_stages=6,
        num_heads=8,
        ffn_dim=2048,
        dynamic_dim=64,
        num_classes="${..num_classes}",
    ),
    criterion=L(SetCriterion)(
        matcher=L(HungarianMatcher)(class_weight=2.0, bbox_weight=5.0, giou_weight=2.0, box_metric=L(XyxyBoxMetric)()),
        class_weight=2.0,
        bbox_weight=5.0,
        giou_weight=2.0,
    ),
    num_classes=80,
    num_select=300,
)

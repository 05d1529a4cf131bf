"""Cascade Mask R-CNN as mmdetection's FocalNet configurations build it: what differs from Mask R-CNN.

Its anchors keep the older base file's rules: Smooth L1, and only those within the image.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import FastRCNNConvFCHead

from focalnet_d2.modeling.box_deltas import BoxDeltas
from focalnet_d2.modeling.rcnn.cascade_heads import CascadeHeads
from focalnet_d2.modeling.rcnn.model import BoxPredictor, CascadeMaskRCNN, MaskHead
from focalnet_d2.modeling.rcnn.proposal_sampling import MaxIoUMatcher

from .mask_rcnn import model

_weights = ([10.0, 10.0, 5.0, 5.0], [20.0, 20.0, 10.0, 10.0], [1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067])

model._target_ = CascadeMaskRCNN
model.proposal_generator.anchor_boundary_thresh = 0.0
model.proposal_generator.smooth_l1_beta = 1 / 9
model.proposal_generator.post_nms_topk = (2000, 1000)
model.roi_heads = L(CascadeHeads)(
    in_features=["p2", "p3", "p4", "p5"],
    box_pooler=model.roi_heads.box_pooler,
    box_head=[
        L(FastRCNNConvFCHead)(
            input_shape=L(ShapeSpec)(channels="${.....backbone.out_channels}", height=7, width=7),
            conv_dims=[256, 256, 256, 256],
            conv_norm="SyncBN",
            fc_dims=[1024],
        )
        for _ in _weights
    ],
    box_predictor=[
        L(BoxPredictor)(
            input_shape=L(ShapeSpec)(channels="${....box_head.0.fc_dims.0}"),
            box2box_transform=L(BoxDeltas)(weights=weights),
            num_classes="${...num_classes}",
            test_score_thresh=0.05,
            test_nms_thresh=0.5,
            test_topk_per_image=100,
            box_reg_loss_type="giou",
            loss_weight={"loss_box_reg": 10.0},
        )
        for weights in _weights
    ],
    mask_pooler=model.roi_heads.mask_pooler,
    mask_head=[
        L(MaskHead)(
            input_shape=L(ShapeSpec)(channels="${.....backbone.out_channels}", height=14, width=14),
            num_classes="${...num_classes}",
            conv_dims=[256, 256, 256, 256, 256],
        )
        for _ in _weights
    ],
    proposal_matchers=[L(MaxIoUMatcher)(positive=iou, negative=iou) for iou in (0.5, 0.6, 0.7)],
    stage_weights=(1.0, 0.5, 0.25),
    num_classes="${..num_classes}",
    num_samples=512,
    positive_fraction=0.25,
)

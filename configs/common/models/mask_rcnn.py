"""Mask R-CNN as mmdetection's FocalNet configurations build it (arXiv:2203.11926, appendix; 2.11's base file).

A recipe sets `backbone.bottom_up`, its windows and its drop path; widths and classes are typed once.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.proposal_generator import StandardRPNHead
from detectron2.modeling.roi_heads import FastRCNNConvFCHead

from focalnet_d2.modeling.box_deltas import BoxDeltas
from focalnet_d2.modeling.rcnn.model import (
    BoxPredictor,
    MaskHead,
    MaskRCNN,
    MaskRCNNHeads,
    RegionPooler,
    RegionProposals,
)
from focalnet_d2.modeling.rcnn.proposal_sampling import MaxIoUMatcher

from ..focalnet import focalnet_tiny_lrf as _focalnet

model = L(MaskRCNN)(
    backbone=L(FPN)(
        bottom_up=_focalnet,
        in_features=["res2", "res3", "res4", "res5"],
        out_channels=256,
        top_block=L(LastLevelMaxPool)(),  # takes every second cell, as mmdetection's fifth level
    ),
    proposal_generator=L(RegionProposals)(
        in_features=["p2", "p3", "p4", "p5", "p6"],
        head=L(StandardRPNHead)(in_channels="${...backbone.out_channels}", num_anchors=3),
        anchor_generator=L(DefaultAnchorGenerator)(
            sizes=[[32], [64], [128], [256], [512]],
            aspect_ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
            offset=0.0,
        ),
        anchor_matcher=L(MaxIoUMatcher)(positive=0.7, negative=0.3, best_from=0.3),
        box2box_transform=L(BoxDeltas)(weights=[1.0, 1.0, 1.0, 1.0]),
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_topk=(2000, 1000),  # of each level; training, test
        post_nms_topk=(1000, 1000),  # of all levels
        nms_thresh=0.7,
        anchor_boundary_thresh=-1.0,
        smooth_l1_beta=0.0,  # L1
    ),
    roi_heads=L(MaskRCNNHeads)(
        num_classes="${..num_classes}",
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=L(MaxIoUMatcher)(positive=0.5, negative=0.5, best_from=0.5),
        box_in_features=["p2", "p3", "p4", "p5"],
        box_pooler=L(RegionPooler)(
            output_size=7,
            scales=(1 / 4, 1 / 8, 1 / 16, 1 / 32),
            sampling_ratio=0,
            pooler_type="ROIAlignV2",
        ),
        box_head=L(FastRCNNConvFCHead)(
            input_shape=L(ShapeSpec)(channels="${....backbone.out_channels}", height=7, width=7),
            conv_dims=[],
            fc_dims=[1024, 1024],
        ),
        box_predictor=L(BoxPredictor)(
            input_shape=L(ShapeSpec)(channels="${...box_head.fc_dims[1]}"),
            box2box_transform=L(BoxDeltas)(weights=[10.0, 10.0, 5.0, 5.0]),
            num_classes="${..num_classes}",
            test_score_thresh=0.05,
            test_nms_thresh=0.5,
            test_topk_per_image=100,
            smooth_l1_beta=0.0,  # L1
        ),
        mask_in_features="${.box_in_features}",
        mask_pooler=L(RegionPooler)(
            output_size=14,
            scales="${..box_pooler.scales}",
            sampling_ratio=0,
            pooler_type="ROIAlignV2",
        ),
        mask_head=L(MaskHead)(
            input_shape=L(ShapeSpec)(channels="${....backbone.out_channels}", height=14, width=14),
            num_classes="${..num_classes}",
            conv_dims=[256, 256, 256, 256, 256],  # four convolutions and the doubling of the resolution
        ),
    ),
    num_classes=80,
)

"""Tiny ATSS and Sparse R-CNN, put together from the parts a recipe names."""

import torch
from detectron2.modeling.backbone.fpn import FPN
from torch import nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.modeling.atss.criterion import ATSSCriterion
from focalnet_d2.modeling.atss.head import ATSSHead, StridedLevels
from focalnet_d2.modeling.atss.model import ATSS
from focalnet_d2.modeling.sparse_rcnn.dynamic_head import DynamicHead
from focalnet_d2.modeling.sparse_rcnn.model import SparseRCNN
from focalnet_d2.set_prediction.box_metric import XyxyBoxMetric
from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.matcher import HungarianMatcher

TINY_BACKBONE = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(2, 2, 2, 2), focal_windows=(3, 3, 3, 3))


def tiny_atss(seed: int = 0, *, num_classes: int = 5, backbone=None, **model) -> ATSS:
    """64 channels, towers of one convolution; heads are drawn wide, so that everything matters."""
    torch.manual_seed(seed)
    names = ("res3", "res4", "res5")
    bottom_up = FocalNet(**{**TINY_BACKBONE, **(backbone or {})}, out_features=names)
    atss = ATSS(
        FPN(bottom_up, names, 64, top_block=StridedLevels(64)),
        bbox_head=ATSSHead(64, num_classes=num_classes, num_convs=1),
        criterion=ATSSCriterion(num_classes),
        num_classes=num_classes,
        **model,
    )
    for name, parameter in atss.bbox_head.named_parameters():
        if parameter.ndim == 4:
            nn.init.normal_(parameter, std=0.05)
        if name == "atss_cls.bias":
            nn.init.constant_(parameter, -2.0)
    return atss


def tiny_sparse_rcnn(
    seed: int = 0, *, num_classes: int = 5, num_proposals: int = 10, num_stages: int = 3, backbone=None, **model
) -> SparseRCNN:
    """16 channels, 10 proposals, 3 stages."""
    torch.manual_seed(seed)
    names = ("res2", "res3", "res4", "res5")
    return SparseRCNN(
        FPN(FocalNet(**{**TINY_BACKBONE, **(backbone or {})}, out_features=names), names, 16),
        head=DynamicHead(
            16,
            num_proposals=num_proposals,
            num_stages=num_stages,
            num_heads=2,
            ffn_dim=24,
            dynamic_dim=4,
            num_classes=num_classes,
        ),
        criterion=SetCriterion(HungarianMatcher(box_metric=XyxyBoxMetric()), class_weight=2.0),
        num_classes=num_classes,
        **{"num_select": num_proposals, **model},
    )

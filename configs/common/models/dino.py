"""DINO as FocalNet-DINO trains it (arXiv:2203.03605, appendix D; 4 feature scales, 900 queries).

A recipe sets `backbone.bottom_up`; widths, classes and numbers of levels are typed once.
"""

from detectron2.config import LazyCall as L

from dino.criterion import DINOCriterion
from dino.decoder import DINODecoder
from dino.denoising import ContrastiveDenoising
from dino.model import DINO
from dino.neck import MultiScaleNeck
from dino.query_selection import QuerySelection
from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.set_prediction.matcher import HungarianMatcher

from ..focalnet import focalnet_tiny_lrf as _focalnet

model = L(DINO)(
    backbone=L(MultiScaleNeck)(bottom_up=_focalnet, dim=256, num_levels=4),
    position_embedding=L(SinePositionEncoding)(
        num_feats=128,
        temperature=20.0,
        temperature_width="${.temperature}",
        offset=0.0,
    ),
    encoder=L(DeformableEncoder)(
        dim="${..backbone.dim}",
        num_layers=6,
        num_levels="${..backbone.num_levels}",
        num_heads=8,
        num_points=4,
        ffn_dim=2048,
        use_checkpoint=False,
    ),
    query_selection=L(QuerySelection)(num_queries=900, dim="${..backbone.dim}", num_classes="${..num_classes}"),
    decoder=L(DINODecoder)(
        dim="${..backbone.dim}",
        num_layers=6,
        num_levels="${..backbone.num_levels}",
        num_heads=8,
        num_points=4,
        ffn_dim=2048,
        use_checkpoint=False,
    ),
    denoising=L(ContrastiveDenoising)(
        num_classes="${..num_classes}",
        dim="${..backbone.dim}",
        dn_number=100,
        label_noise_ratio=0.5,
        box_noise_scale=1.0,
    ),
    criterion=L(DINOCriterion)(
        matcher=L(HungarianMatcher)(class_weight=2.0, bbox_weight=5.0, giou_weight=2.0),
        class_weight=1.0,
        bbox_weight=5.0,
        giou_weight=2.0,
    ),
    num_classes=80,
    shared_heads=True,
    num_select=300,
)
model.backbone.bottom_up.out_features = ("res3", "res4", "res5")

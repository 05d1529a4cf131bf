"""Mask2Former as it was published (arXiv:2112.01527, section 4.1 and appendix; 100 queries), for COCO's 133 classes.

A recipe sets `backbone`; widths, classes and numbers of levels are typed once.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.layers.deformable_encoder import DeformableEncoder
from focalnet_d2.layers.position_encoding import SinePositionEncoding
from focalnet_d2.set_prediction.matcher import MaskMatcher
from mask2former.criterion import Mask2FormerCriterion
from mask2former.model import Mask2Former
from mask2former.pixel_decoder import PixelDecoder
from mask2former.postprocessing import (  # fmt: skip
    InstanceInference,
    PanopticInference,
    SegmentationInference,
    SemanticInference,
)
from mask2former.transformer_decoder import MaskedAttentionDecoder

from ..focalnet import focalnet_tiny_lrf as _focalnet

model = L(Mask2Former)(
    backbone=_focalnet,
    pixel_decoder=L(PixelDecoder)(
        input_shape=L(FocalNet.make_output_shape)(embed_dim="${...backbone.embed_dim}"),
        position_embedding=L(SinePositionEncoding)(num_feats=128, temperature=10000.0, offset=0.0),
        encoder=L(DeformableEncoder)(
            dim="${..dim}",
            num_layers=6,
            num_levels=3,
            num_heads=8,
            num_points=4,
            ffn_dim=1024,
            use_checkpoint=False,
        ),
        dim=256,
        mask_dim=256,
    ),
    decoder=L(MaskedAttentionDecoder)(
        num_classes="${..num_classes}",
        position_embedding=L(SinePositionEncoding)(
            num_feats="${...pixel_decoder.position_embedding.num_feats}",
            temperature="${...pixel_decoder.position_embedding.temperature}",
            offset="${...pixel_decoder.position_embedding.offset}",
        ),
        dim="${..pixel_decoder.dim}",
        in_dim="${..pixel_decoder.dim}",
        mask_dim="${..pixel_decoder.mask_dim}",
        num_queries=100,
        num_layers=9,
        num_levels="${..pixel_decoder.encoder.num_levels}",
        num_heads=8,
        ffn_dim=2048,
        use_checkpoint=False,
    ),
    criterion=L(Mask2FormerCriterion)(
        matcher=L(MaskMatcher)(class_weight=2.0, mask_weight=5.0, dice_weight=5.0),
        num_classes="${..num_classes}",
        class_weight=2.0,
        mask_weight=5.0,
        dice_weight=5.0,
        no_object_weight=0.1,
        num_points=12544,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        pairs_at_once=0,
    ),
    inference=L(SegmentationInference)(
        thing_ids=tuple(range(80)),
        semantic=L(SemanticInference)(),
        panoptic=L(PanopticInference)(object_mask_threshold=0.8, overlap_threshold=0.8),
        instance=L(InstanceInference)(top_k=100),
    ),
    num_classes=133,
)

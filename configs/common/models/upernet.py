"""UPerNet as FocalNet's mmsegmentation configs build it (arXiv:2203.11926, section 4.3), for ADE20K's 150 classes.

A recipe sets `backbone`; widths and classes are typed once. Test images go through whole; for windows of 512 pixels
with mmsegmentation's stride set `model.inference.window=512`.
"""

from detectron2.config import LazyCall as L

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.modeling.upernet.model import FCNHead, UPerHead, UPerNet
from focalnet_d2.modeling.upernet.sliding_window import WindowInference

from ..focalnet import focalnet_tiny_lrf as _focalnet

model = L(UPerNet)(
    backbone=_focalnet,
    decode_head=L(UPerHead)(
        input_shape=L(FocalNet.make_output_shape)(embed_dim="${...backbone.embed_dim}"),
        num_classes="${..num_classes}",
        dim=512,
        pool_sizes=(1, 2, 3, 6),
        dropout=0.1,
    ),
    auxiliary_head=L(FCNHead)(
        input_shape="${..decode_head.input_shape}",
        num_classes="${..num_classes}",
        in_feature="res4",
        dim=256,
        dropout=0.1,
    ),
    inference=L(WindowInference)(window=0, stride=341),
    num_classes=150,
    auxiliary_weight=0.4,
    train_size=512,
)

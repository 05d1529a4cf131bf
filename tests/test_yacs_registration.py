"""FocalNet from Detectron2's yacs configs: alone, under a feature pyramid, inside one of Detectron2's detectors."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone, build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.yacs import add_focalnet_config


def config(backbone: str, **focalnet):
    """A yacs config with a tiny FocalNet."""
    cfg = get_cfg()
    add_focalnet_config(cfg)
    cfg.MODEL.BACKBONE.NAME = backbone
    cfg.MODEL.DEVICE = "cpu"
    for name, value in {"embed_dim": 8, "depths": [1, 1, 1, 1], **focalnet}.items():
        setattr(cfg.MODEL.FOCALNET, name.upper(), value)
    cfg.MODEL.FPN.IN_FEATURES = list(cfg.MODEL.FOCALNET.OUT_FEATURES)
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    return cfg


@pytest.mark.parametrize("name", ["FocalNet", "build_focalnet_backbone"])
def test_every_flag_reaches_the_backbone(name):
    flags = dict(
        focal_levels=[1, 2, 3, 4],
        focal_windows=[9, 7, 5, 3],
        use_conv_embed=True,
        use_postln=True,
        use_postln_in_modulation=True,
        use_layerscale=True,
        normalize_modulator=True,
        stem_padding=3,
        out_features=["res3", "res5"],
    )
    backbone = build_backbone(config(name, **flags))
    assert isinstance(backbone, FocalNet)
    for flag, value in flags.items():
        assert getattr(backbone, flag) == (tuple(value) if isinstance(value, list) else value)
    assert {k: (v.channels, v.stride) for k, v in backbone.output_shape().items()} == {
        "res3": (16, 8),
        "res5": (64, 32),
    }


def test_channels_of_the_image_come_from_the_pixel_mean():
    cfg = config("build_focalnet_backbone")
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = [0.0] * 5, [1.0] * 5
    assert build_backbone(cfg)(torch.randn(1, 5, 32, 32))["res2"].shape == (1, 8, 8, 8)


def test_feature_pyramid():
    """Sizes that are multiples of 32, as Detectron2 pads them."""
    backbone = build_backbone(config("build_focalnet_fpn_backbone")).eval()
    assert backbone.size_divisibility == 32
    outputs = backbone(torch.randn(2, 3, 64, 96))
    shapes = backbone.output_shape()
    assert list(outputs) == list(shapes) == ["p2", "p3", "p4", "p5", "p6"]
    for name, feature in outputs.items():
        stride = shapes[name].stride
        assert feature.shape == (2, 16, -(-64 // stride), -(-96 // stride))


def test_a_detector_of_detectron2_trains_and_predicts_on_it():
    """Faster R-CNN needs nothing compiled either."""
    cfg = config("build_focalnet_fpn_backbone")
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "RPN"
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[16], [32], [64], [128], [256]]
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 1
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 16
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    model = build_model(cfg).train()
    instances = Instances((64, 80))
    instances.gt_boxes = Boxes(torch.tensor([[8.0, 8.0, 40.0, 48.0]]))
    instances.gt_classes = torch.tensor([1])
    image = torch.randint(256, (3, 64, 80), dtype=torch.uint8)
    with EventStorage():
        losses = model([{"image": image, "instances": instances}])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert model.backbone.bottom_up.patch_embed.proj.weight.grad.any()
    with torch.no_grad():
        (result,) = model.eval()([{"image": image, "height": 128, "width": 160}])
    assert result["instances"].image_size == (128, 160)

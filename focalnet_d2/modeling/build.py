"""What other Detectron2 projects reach by name: backbones for yacs configs, and recipes behind `DefaultPredictor`.

`FocalNet` itself is in Detectron2's backbone registry under its own name.
"""

import logging

from detectron2.config import instantiate
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from torch import nn

from focalnet_d2.checkpoint import load_checkpoint
from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.precision import predict_in

from .focalnet import FocalNet

_logger = logging.getLogger(__name__)


@BACKBONE_REGISTRY.register()
def build_focalnet_backbone(cfg, input_shape: ShapeSpec) -> FocalNet:
    """FocalNet from `cfg.MODEL.FOCALNET` (see `focalnet_d2.config.yacs.add_focalnet_config`)."""
    return FocalNet(cfg, input_shape)


@BACKBONE_REGISTRY.register()
def build_focalnet_fpn_backbone(cfg, input_shape: ShapeSpec) -> FPN:
    """FocalNet under a feature pyramid with a pooled extra level, from `cfg.MODEL.FOCALNET` and `cfg.MODEL.FPN`."""
    return FPN(
        bottom_up=FocalNet(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@META_ARCH_REGISTRY.register()
def LazyConfigModel(cfg) -> nn.Module:  # noqa: N802 - registry entries are named like classes
    """The model of the recipe that `cfg.MODEL.LAZY_CONFIG` names, for Detectron2's `DefaultPredictor`.

    `cfg.MODEL.LAZY_OVERRIDES` changes it (`train.amp=bf16`: it predicts in bf16), `cfg.MODEL.LAZY_WEIGHTS` is a
    checkpoint of any known layout. It returns the recipe's own model, so that state-dict keys are the same on both
    ways. Make the config with `focalnet_d2.config.yacs.recipe_to_cfg`.
    """
    recipe = apply_overrides(load_recipe(cfg.MODEL.LAZY_CONFIG), list(cfg.MODEL.LAZY_OVERRIDES))
    model = instantiate(recipe.model)
    if cfg.MODEL.LAZY_WEIGHTS:
        _logger.info("%s", load_checkpoint(model, cfg.MODEL.LAZY_WEIGHTS, complete=True))
    return predict_in(model, recipe.train.amp)

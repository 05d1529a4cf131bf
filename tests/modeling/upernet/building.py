"""Tiny UPerNets for tests."""

import torch

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.modeling.upernet.model import FCNHead, UPerHead, UPerNet
from focalnet_d2.modeling.upernet.sliding_window import WindowInference

TINY_BACKBONE = dict(embed_dim=8, depths=(1, 1, 1, 1), focal_levels=(1, 1, 1, 1), focal_windows=(3, 3, 3, 3))


def build_upernet(
    num_classes: int = 4, *, seed: int = 0, dim: int = 8, pool_sizes=(1, 2, 3, 6), **arguments
) -> UPerNet:
    """A whole model with random weights; arguments that belong to the backbone go there."""
    torch.manual_seed(seed)
    own = {name: arguments.pop(name) for name in ("inference", "train_size", "auxiliary_weight") if name in arguments}
    backbone = FocalNet(**{**TINY_BACKBONE, **arguments})
    shape = backbone.output_shape()
    return UPerNet(
        backbone,
        decode_head=UPerHead(shape, num_classes=num_classes, dim=dim, pool_sizes=pool_sizes),
        auxiliary_head=FCNHead(shape, num_classes=num_classes, dim=6),
        num_classes=num_classes,
        **{"inference": WindowInference(), "train_size": 0, **own},
    )

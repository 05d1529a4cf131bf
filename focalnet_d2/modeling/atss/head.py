"""Levels and predictions of ATSS; parameters are called as in mmdetection's checkpoints.

Shapes: B images, D channels, K classes, H x W cells of a level.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import fvcore.nn.weight_init as weight_init
import torch
from torch import Tensor, nn

from focalnet_d2.layers.mlp import prior_bias


class StridedLevels(nn.Module):
    """Two more levels for Detectron2's FPN: 3x3 convolutions of stride 2 on its last output, no ReLU between them.

    Args:
        dim: channels of every level.
        in_feature: the FPN's last output; the new ones are called p6 and p7.
    """

    num_levels = 2

    def __init__(self, dim: int, *, in_feature: str = "p5"):
        super().__init__()
        self.in_feature = in_feature
        self.p6 = nn.Conv2d(dim, dim, kernel_size=3, stride=2, padding=1)
        self.p7 = nn.Conv2d(dim, dim, kernel_size=3, stride=2, padding=1)
        for conv in (self.p6, self.p7):
            weight_init.c2_xavier_fill(conv)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, D, H, W) -> [(B, D, H/2, W/2), (B, D, H/4, W/4)]."""
        p6 = self.p6(x)
        return [p6, self.p7(p6)]


class Scale(nn.Module):
    """A learned factor."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> that shape."""
        return x * self.scale


class DensePredictions(NamedTuple):
    """What the head says about cells: of one level or of all, one after the other.

    Attributes:
        logits: (B, N, K) of the classes.
        deltas: (B, N, 4) changes of the anchors, see `BoxDeltas`.
        centreness: (B, N) logits.
    """

    logits: Tensor
    deltas: Tensor
    centerness: Tensor


class ATSSHead(nn.Module):
    """Two towers of convolutions shared by all levels: classes; boxes and centreness.

    Args:
        dim: channels D, a multiple of 32.
        num_levels: levels; each has its own factor of the box deltas.
        num_classes: classes K.
        num_convs: convolutions of a tower.
    """

    def __init__(self, dim: int = 256, *, num_levels: int = 5, num_classes: int = 80, num_convs: int = 4):
        super().__init__()
        self.cls_convs = nn.ModuleList(_tower_layer(dim) for _ in range(num_convs))
        self.reg_convs = nn.ModuleList(_tower_layer(dim) for _ in range(num_convs))
        self.atss_cls = nn.Conv2d(dim, num_classes, kernel_size=3, padding=1)
        self.atss_reg = nn.Conv2d(dim, 4, kernel_size=3, padding=1)
        self.atss_centerness = nn.Conv2d(dim, 1, kernel_size=3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in range(num_levels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
        for conv, bias in ((self.atss_reg, 0.0), (self.atss_centerness, 0.0), (self.atss_cls, prior_bias())):
            nn.init.constant_(cast(Tensor, conv.bias), bias)

    def forward(self, features: Sequence[Tensor]) -> list[DensePredictions]:
        """(B, D, H, W) of each level, fine to coarse -> predictions of each level, in float32 at least."""
        return [
            self._predict(feature, scale)
            for feature, scale in zip(features, cast(Iterable[Scale], self.scales), strict=True)
        ]

    def _predict(self, feature: Tensor, scale: Scale) -> DensePredictions:
        about_class = about_box = feature
        for layer in self.cls_convs:
            about_class = layer(about_class)
        for layer in self.reg_convs:
            about_box = layer(about_box)
        return DensePredictions(
            _by_cell(self.atss_cls(about_class)),
            _by_cell(scale(self.atss_reg(about_box))),
            _by_cell(self.atss_centerness(about_box))[..., 0],
        )


def _tower_layer(dim: int) -> nn.Sequential:
    conv = nn.Conv2d(dim, dim, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, gn=nn.GroupNorm(32, dim), relu=nn.ReLU()))


def _by_cell(x: Tensor) -> Tensor:
    """(B, D, H, W) -> (B, H * W, D), in float32 at least."""
    return x.flatten(2).transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32))

"""From backbone maps to DINO's feature pyramid: one width, and coarser levels than the backbone has."""

import math
from collections.abc import Iterable
from typing import cast

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from focalnet_d2.kernels.linear import pointwise
from focalnet_d2.layers.projection import by_stride, fill_projection


class MultiScaleNeck(Backbone):
    """A projection of every backbone map, and strided ones of the last map for the levels that are missing.

    Args:
        bottom_up: backbone; its outputs are used from fine to coarse.
        dim: channels of every level, a multiple of 32.
        num_levels: levels of the pyramid, at least as many as the backbone's outputs.

    Raises:
        ValueError: fewer levels than backbone outputs.
    """

    def __init__(self, bottom_up: Backbone, *, dim: int = 256, num_levels: int = 4):
        super().__init__()
        self.bottom_up = bottom_up
        shapes = by_stride(bottom_up.output_shape())
        self.in_features = [name for name, _ in shapes]
        if num_levels < len(shapes):
            raise ValueError(
                f"backbone.num_levels is {num_levels}, but the backbone returns {self.in_features}: "
                "shorten backbone.bottom_up.out_features or raise backbone.num_levels."
            )
        channels = [shape.channels for _, shape in shapes]
        projections = [nn.Conv2d(c, dim, kernel_size=1) for c in channels]
        strides = [shape.stride for _, shape in shapes]
        channels_in = channels[-1]
        while len(projections) < num_levels:
            projections.append(nn.Conv2d(channels_in, dim, kernel_size=3, stride=2, padding=1))
            strides.append(2 * strides[-1])
            channels_in = dim
        self.input_proj = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(32, dim)) for conv in projections)
        for conv in projections:
            fill_projection(conv)
        names = [f"p{int(math.log2(stride))}" for stride in strides]
        self._shapes = {
            name: ShapeSpec(channels=dim, stride=stride) for name, stride in zip(names, strides, strict=True)
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> {p3: (B, C, H/8, W/8), ...}, fine to coarse.

        The first additional level reads the raw last backbone map, each further one the level before it.
        """
        features = self.bottom_up(images)
        inputs = [features[name] for name in self.in_features]
        levels = []
        for index, projection in enumerate(cast(Iterable[nn.Sequential], self.input_proj)):
            source = inputs[index] if index < len(inputs) else inputs[-1] if index == len(inputs) else levels[-1]
            levels.append(_project(projection, source))
        return dict(zip(self._shapes, levels, strict=True))

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of every level."""
        return dict(self._shapes)


def _project(projection: nn.Sequential, source: Tensor) -> Tensor:
    """Convolution and norm."""
    conv, norm = cast(tuple[nn.Conv2d, nn.GroupNorm], tuple(projection))
    return norm(pointwise(conv, source) if conv.kernel_size == (1, 1) else conv(source))

"""From the maps of a backbone to those of a pyramid: in which order, and how projections start."""

from collections.abc import Mapping
from typing import NamedTuple

from detectron2.layers import ShapeSpec
from torch import nn


class MapShape(NamedTuple):
    """Channels and stride of a backbone's map."""

    channels: int
    stride: int


def by_stride(shapes: Mapping[str, ShapeSpec]) -> list[tuple[str, MapShape]]:
    """Names and shapes of a backbone's maps, fine to coarse.

    Raises:
        ValueError: the backbone does not say the channels and the stride of a map.
    """
    known = []
    for name, shape in shapes.items():
        if shape.channels is None or shape.stride is None:
            raise ValueError(f"The backbone does not say the channels and the stride of {name}: output_shape() must.")
        known.append((name, MapShape(shape.channels, shape.stride)))
    return sorted(known, key=lambda item: item[1].stride)


def fill_projection(conv: nn.Conv2d) -> None:
    """Xavier weights and a bias of zeros."""
    nn.init.xavier_uniform_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)

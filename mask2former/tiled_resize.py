"""Mask logits at the size of the result, a few rows at a time.

The published code resizes all masks to the padded input of the network, cuts the padding off, and resizes them again
to the size of the result: several maps of Q x H x W numbers. Both steps are bilinear, so they part into rows and
columns: any rows of the result need only few rows of the mask logits, and these get their columns first.

Shapes: C maps (masks or classes) of h x w logits; the network's input is padded_size, the image in it image_size; the
result has output_size. R rows of the result are made at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class LinearInterpolation(NamedTuple):
    """What each of N points of a resized axis is made of: (1 - weight) * [below] + weight * [above].

    Attributes:
        below, above: (N,) indices; weight: (N,).
    """

    below: Tensor
    above: Tensor
    weight: Tensor

    def slice(self, start: int, stop: int) -> "LinearInterpolation":
        """Points start..stop - 1."""
        return LinearInterpolation(self.below[start:stop], self.above[start:stop], self.weight[start:stop])

    def select(self, points: Tensor) -> "LinearInterpolation":
        """Those of the given points (M,) of the N, in their order."""
        return LinearInterpolation(self.below[points], self.above[points], self.weight[points])

    def offset(self, first: int) -> "LinearInterpolation":
        """The same in an axis whose first points are cut off."""
        return LinearInterpolation(self.below - first, self.above - first, self.weight)


def linear_interpolation(size_in: int, size_out: int, like: Tensor) -> LinearInterpolation:
    """Interpolation (size_out,) of an axis of `size_in` points resized to `size_out`, as `F.interpolate` has it.

    Positions are computed in the type of `like`, as they are there; exact when size_out is size_in times a power of 2.
    """
    scale = torch.tensor(size_in, dtype=like.dtype) / size_out
    position = (torch.arange(size_out, dtype=like.dtype, device=like.device) + 0.5) * scale.to(like.device) - 0.5
    position = position.clamp(min=0)
    below = position.long().clamp(max=size_in - 1)
    return LinearInterpolation(below, (below + 1).clamp(max=size_in - 1), (position - below).clamp(max=1))


def blend_rows(maps: Tensor, taps: LinearInterpolation) -> Tensor:
    """(C, h, w) -> (C, R, w)."""
    below, above = maps.index_select(1, taps.below), maps.index_select(1, taps.above)
    return torch.lerp(below, above, taps.weight[:, None])


def resize_columns(maps: Tensor, width: int) -> Tensor:
    """(C, R, w) -> (C, R, width)."""
    return maps if maps.shape[-1] == width else F.interpolate(maps, size=width, mode="linear", align_corners=False)


class MaskGrid:
    """From the logits' pixels to those of the network's input and of the result.

    Args:
        mask_logits: (Q, h, w); its size, type and device are taken.
        padded_size: (H, W) of the network's input, which the logits cover.
        image_size: the image's part of it, from the top left corner.
        output_size: of the result.
    """

    def __init__(
        self,
        mask_logits: Tensor,
        *,
        padded_size: Sequence[int],
        image_size: Sequence[int],
        output_size: Sequence[int],
    ):
        self.padded_size = tuple(padded_size)
        self.image_size = tuple(image_size)
        self.output_size = (output_size[0], output_size[1])
        self.to_image = linear_interpolation(mask_logits.shape[1], padded_size[0], mask_logits).slice(0, image_size[0])
        self.to_output = linear_interpolation(image_size[0], output_size[0], mask_logits)
        # First and last row of the image, and of the logits, that a row is made of; numbers, no tile asks the device.
        self._image_rows_of = tuple(tap.tolist() for tap in self.to_output[:2])
        self._logit_rows_of = tuple(tap.tolist() for tap in self.to_image[:2])

    @property
    def widest(self) -> int:
        """Columns of the widest maps on the way."""
        return max(self.padded_size[1], self.output_size[1])

    def output_rows(self, maps: Tensor, start: int, stop: int) -> Tensor:
        """Rows of the result: (C, h, w) -> (C, stop - start, W)."""
        columns, first = self._columns(maps, start, stop, self.output_size[1])
        taps = self.to_output.slice(start, stop)
        below = blend_rows(columns, self.to_image.select(taps.below).offset(first))
        if self.image_size[0] == self.output_size[0]:
            return below
        above = blend_rows(columns, self.to_image.select(taps.above).offset(first))
        return torch.lerp(below, above, taps.weight[:, None])

    def network_rows(self, maps: Tensor, start: int, stop: int) -> Tensor:
        """The rows of the image in the network's input that rows start..stop - 1 of the result are made of.

        Returns:
            (C, R', w) of the R' rows from `to_output.below[start]` to `to_output.above[stop - 1]`.
        """
        columns, first = self._columns(maps, start, stop, self.image_size[1])
        below, above = self._image_rows_of
        return blend_rows(columns, self.to_image.slice(below[start], above[stop - 1] + 1).offset(first))

    def finish_rows(self, maps: Tensor, start: int, stop: int) -> Tensor:
        """Maps made of `network_rows` of the same rows, at the size of the result: (C, R', w) -> (C, R, W)."""
        taps = self.to_output.slice(start, stop).offset(self._image_rows_of[0][start])
        return resize_columns(blend_rows(maps, taps), self.output_size[1])

    def _columns(self, maps: Tensor, start: int, stop: int, width: int) -> tuple[Tensor, int]:
        """Of (C, h, w), the rows that rows start..stop - 1 of the result are made of, `width` columns of the image.

        Returns:
            (C, ., width) and the place of its first row in the maps.
        """
        (image_below, image_above), (below, above) = self._image_rows_of, self._logit_rows_of
        first, last = below[image_below[start]], above[image_above[stop - 1]]
        columns = resize_columns(maps[:, first : last + 1], self.padded_size[1])[..., : self.image_size[1]]
        return resize_columns(columns, width), first

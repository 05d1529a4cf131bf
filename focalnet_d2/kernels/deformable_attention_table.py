"""Deformable attention without a compiler: one weighted lookup of four texels a point in a table of all values.

The table is the pyramid with a border of zeros, two texels wide, around every level. Points are moved into it, which
changes no sum: so no corner has to be judged, nor masked. Queries go in parts whose row numbers and weights stay in the
cache. torch knows the two directions as operators, as it does the compiled ones.

Shapes: B images, N tokens of all levels, T rows of the table, Q queries, M heads, D channels of a head, K points of a
head in all levels.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from scipy.sparse import csc_matrix
from torch import Tensor

from .torch_operator import define_operator

QUERIES_AT_ONCE = 2048
QUERIES_AT_ONCE_BACKWARD = 8192  # each part adds to the gradient of the whole table
SUMS_AT_ONCE = 128  # of a query and a head, whose texels are copied

_BORDER = 2  # texels


def deformable_attention_table(
    value: Tensor, spatial_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The sum of `deformable_attention` in float32 or float64, differentiable once.

    Args:
        value: (B, N, M, D).
        spatial_shapes: (h, w) of every level.
        locations: (B, Q, M, L, P, 2).
        weights: (B, Q, M, L, P).

    Returns:
        (B, Q, M*D).
    """
    sides = [int(side) for shape in spatial_shapes for side in shape]
    return OPERATOR(value, sides, locations, weights)


class _Table:
    """Where the texels of levels are in a table of one image's rows, `heads` for each texel.

    A line of a level is followed by the border that the next line begins with, too. Constants are (M * K,), as the
    points of a query follow each other.
    """

    def __init__(self, sides: Sequence[int], heads: int, points: int, value: Tensor):
        self.shapes = list(zip(sides[::2], sides[1::2], strict=True))
        self.heads = heads
        self.starts, texels = [], 0  # of the first texel inside the border
        for height, width in self.shapes:
            pitch = width + _BORDER
            self.starts.append(texels + _BORDER * pitch + _BORDER)
            texels += (height + 2 * _BORDER) * pitch + _BORDER
        self.texels = texels
        index = torch.int32 if texels * heads * len(value) < 2**31 else torch.int64

        def of_points(numbers: Sequence[int], dtype: torch.dtype) -> Tensor:
            """A number for each level -> (M * K,)."""
            by_level = torch.tensor(numbers, dtype=dtype, device=value.device)
            return by_level.repeat_interleave(points).repeat(heads)

        head = torch.arange(heads, dtype=index, device=value.device).repeat_interleave(points * len(self.shapes))
        self.origin = of_points(self.starts, index) * heads + head
        self.pitch = of_points([(width + _BORDER) * heads for _, width in self.shapes], index)
        self.minus_half = value.new_full((), -0.5)
        self.size = [of_points(side, value.dtype) for side in zip(*((w, h) for h, w in self.shapes), strict=True)]

    def fill(self, value: Tensor) -> Tensor:
        """(B, N, M, D) -> (B, T, D)."""
        batch, _, heads, channels = value.shape
        table = value.new_empty(batch, self.texels, heads, channels)
        end = 0  # of the level before
        for (height, width), start, (lines, tokens) in zip(
            self.shapes, self.starts, self._levels(table, value), strict=True
        ):
            table[:, end:start] = 0
            lines[:, :, width:] = 0
            lines[:, :, :width] = tokens
            end = start + height * (width + _BORDER)
        table[:, end:] = 0
        return table.flatten(1, 2)

    def empty_into(self, value: Tensor, tables: Sequence[Tensor | None]) -> Tensor:
        """B times (T, D), None for zeros -> (B, N, M, D): the rows that are no border."""
        for image, table in zip(value.split(1), tables, strict=True):
            if table is None:
                image.zero_()
                continue
            for lines, tokens in self._levels(table.view(1, self.texels, self.heads, -1), image):
                tokens.copy_(lines[:, :, : tokens.shape[2]])
        return value

    def _levels(self, table: Tensor, value: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        parts = value.split([h * w for h, w in self.shapes], dim=1)
        for (height, width), start, part in zip(self.shapes, self.starts, parts, strict=True):
            lines = table[:, start : start + height * (width + _BORDER)].unflatten(1, (height, -1))
            yield lines, part.unflatten(1, (height, width))  # (B, h, w + border, M, D), (B, h, w, M, D)

    def locate(self, locations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of (Q, M * K, 2) locations: row of the corner left above, shares of the texels right and below."""
        shares, corners = [], []
        for place, size in zip(locations.unbind(-1), self.size, strict=True):
            texel = place.sub(0.5).add_(0.5)  # the roundings of grid_sample(2 * place - 1)
            torch.addcmul(self.minus_half, texel, size, out=texel).clamp_(min=-_BORDER)  # fused where grid_sample is
            torch.minimum(texel, size, out=texel)
            corner = texel.floor()
            shares.append(texel.sub_(corner))
            corners.append(corner.nan_to_num_().to(self.origin.dtype))  # shares of what is no number stay so
        column, line = corners
        return line.mul_(self.pitch).add_(column.mul_(self.heads)).add_(self.origin), *shares

    def spread(self, row: Tensor, right: Tensor, below: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and weights of all corners: (Q, M * K) each -> (Q * M, 4 * K) each."""
        queries, points = len(row), row.shape[1] // self.heads
        rows = row.new_empty(queries, self.heads, 4, points)
        shares = weights.new_empty(rows.shape)
        upper_left, upper_right, lower_left, lower_right = shares.unbind(2)
        row, right, below, weights, pitch = (
            one.unflatten(-1, (self.heads, points)) for one in (row, right, below, weights, self.pitch)
        )
        rows[:, :, 0] = row
        torch.add(row, self.heads, out=rows[:, :, 1])
        torch.add(row, pitch, out=rows[:, :, 2])
        torch.add(row, pitch + self.heads, out=rows[:, :, 3])
        lower = weights * below
        upper = weights - lower
        torch.mul(upper, right, out=upper_right)
        torch.mul(lower, right, out=lower_right)
        torch.sub(upper, upper_right, out=upper_left)
        torch.sub(lower, lower_right, out=lower_left)
        return rows.flatten(2).flatten(0, 1), shares.flatten(2).flatten(0, 1)


def _parts(at_once: int, *by_query: Tensor) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """(B, Q, ...) tensors -> image and the (Q, ...) tensors of some of its queries."""
    for image, of_image in enumerate(zip(*by_query, strict=True)):
        for part in zip(*(one.split(at_once) for one in of_image), strict=True):
            yield image, part


def _forward(value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    heads, points = weights.shape[2], weights.shape[4]
    table = _Table(sides, heads, points, value)
    rows_of_images = table.fill(value)  # (B, T, D)
    output = value.new_empty(*weights.shape[:3], value.shape[3])
    inputs = (locations.flatten(2, 4), weights.flatten(2), output)
    for image, (places, shares, sums) in _parts(QUERIES_AT_ONCE, *inputs):
        rows, row_weights = table.spread(*table.locate(places), shares)
        sums.copy_(_weighted_sums(rows_of_images[image], rows, row_weights).view_as(sums))
    return output.flatten(2)


def _backward(
    value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    heads, points = weights.shape[2], weights.shape[4]
    table = _Table(sides, heads, points, value)
    rows_of_images = table.fill(value)
    table_grads: list[Tensor | None] = [None] * len(value)
    location_grad = torch.empty_like(locations, memory_format=torch.contiguous_format).flatten(2, 4)
    weight_grad = torch.empty_like(weights, memory_format=torch.contiguous_format).flatten(2)
    inputs = (locations.flatten(2, 4), weights.flatten(2), grad, location_grad, weight_grad)
    for image, (places, shares, upstream, place_grad, share_grad) in _parts(QUERIES_AT_ONCE_BACKWARD, *inputs):
        row, right, below = table.locate(places)
        rows, row_weights = table.spread(row, right, below, shares)
        upstream = upstream.reshape(len(rows), -1)  # (Q * M, D)
        product = _transposed_product(rows_of_images[image], rows, row_weights, upstream)
        before = table_grads[image]
        table_grads[image] = product if before is None else before.add_(product)
        dots = _dots(rows_of_images[image], rows, upstream).view(len(rows), 4, -1)
        slopes = _blend([dot.reshape(row.shape) for dot in dots.unbind(1)], right, below, share_grad)
        for axis, slope in enumerate(slopes):
            place_grad[..., axis] = slope.mul_(shares).mul_(table.size[axis])
    value_grad = table.empty_into(torch.empty_like(value, memory_format=torch.contiguous_format), table_grads)
    return value_grad, location_grad.view(locations.shape), weight_grad.view(weights.shape)


def _blend(corners: Sequence[Tensor], right: Tensor, below: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear value of four corners, written to `out`, and its derivatives by the two shares."""
    upper_left, upper_right, lower_left, lower_right = corners
    upper, lower = torch.lerp(upper_left, upper_right, right), torch.lerp(lower_left, lower_right, right)
    torch.lerp(upper, lower, below, out=out)
    return torch.lerp(upper_right - upper_left, lower_right - lower_left, below), lower - upper


def _weighted_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """(T, D), (S, K), (S, K) -> (S, D)."""
    return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")


def _dots(table: Tensor, rows: Tensor, grad: Tensor) -> Tensor:
    """Products of (S, D) gradients and the (S, K) rows of each: (S, K). Rows are copied in parts that fit the cache.

    `embedding_bag` differentiates its weights so, too, in twice the time.
    """
    dots = grad.new_empty(rows.shape)
    for some, upstream, products in zip(*(one.split(SUMS_AT_ONCE) for one in (rows, grad, dots)), strict=True):
        texels = table.index_select(0, some.flatten()).unflatten(0, some.shape)
        torch.bmm(upstream[:, None], texels.transpose(1, 2), out=products[:, None])
    return dots


def _transposed_product(table: Tensor, rows: Tensor, weights: Tensor, grad: Tensor) -> Tensor:
    """Weight * (S, D) gradient, added up in the rows of the table that it came from: (T, D).

    `embedding_bag` has this gradient too, but sorts all row numbers for it.
    """
    if grad.device.type != "cpu":
        spread = (weights[..., None] * grad[:, None]).flatten(0, 1)  # (S * K, D)
        return torch.zeros_like(table).index_add_(0, rows.flatten(), spread)
    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=rows.dtype)
    columns = (weights.flatten().numpy(), rows.flatten().numpy(), starts.numpy())
    return torch.from_numpy(csc_matrix(columns, shape=(len(table), len(rows))) @ grad.numpy())


OPERATOR = define_operator("table_lookup", _forward, _backward, "default")

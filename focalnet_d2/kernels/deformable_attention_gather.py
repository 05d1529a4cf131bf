"""Deformable attention of operators that every runtime has: rows gathered from a table, and their weighted sums.

The table is the pyramid with a border of zeros, two texels wide, around every level, so that no corner of a point has
to be judged, nor masked. The texels of all points together are 64 times as large as the values: the TorchScript tracer
gets a loop over chunks of queries, whose texels stay in the cache. `benchmarks/run.py exported_deformable_attention`
compares it in onnxruntime and OpenVINO with one grid_sample a level.

Shapes: B images, N tokens of all levels, T texels of the table, Q queries, M heads, D channels of a head, L levels,
P points, K = L * P points of a head; C chunks of S queries.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

QUERIES_AT_ONCE = 64

_BORDER = 2  # texels


class _Points(NamedTuple):
    """Where the points of a query look in the table, (M * K,) each.

    Attributes:
        width, height: of the level, in texels.
        pitch: int32, from a row of the table to that of the texel below.
        origin: int32, the row of the level's first texel.
    """

    width: Tensor
    height: Tensor
    pitch: Tensor
    origin: Tensor


def deformable_attention_gather(
    value: Tensor, spatial_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The sum of `deformable_attention`: (B, N, M, D), (h, w), (B, Q, M, L, P, 2), (B, Q, M, L, P) -> (B, Q, M*D)."""
    batch, _, heads, channels = value.shape
    queries = locations.shape[1]
    table = _table(value, spatial_shapes)  # (B, T * M, D)
    image = torch.arange(batch, dtype=torch.int32, device=value.device) * table.shape[1]
    image = image[:, None].expand(-1, queries).reshape(-1, 1)  # (B * Q, 1), row of its image's first texel
    points = _points(value, spatial_shapes, heads, locations.shape[4])
    places = locations.reshape(batch * queries, -1, 2)  # (B * Q, M * K, 2)
    weights = weights.reshape(batch * queries, -1)
    table = table.reshape(-1, channels)  # (B * T * M, D)
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        chunks = (batch * queries + QUERIES_AT_ONCE - 1) // QUERIES_AT_ONCE
        missing = chunks * QUERIES_AT_ONCE - batch * queries
        of_head = int(locations.shape[3] * locations.shape[4])
        of_query = int(heads) * of_head  # sizes that are known are written into the graph: runtimes plan with them
        places = F.pad(places, (0, 0, 0, 0, 0, missing)).reshape(chunks, QUERIES_AT_ONCE, of_query, 2)
        weights = F.pad(weights, (0, 0, 0, missing)).reshape(chunks, QUERIES_AT_ONCE, of_query)
        image = F.pad(image, (0, 0, 0, missing)).reshape(chunks, QUERIES_AT_ONCE, 1)
        bags = QUERIES_AT_ONCE * int(heads)
        sums = _sum_by_chunks(table, places, weights, image, *points, int(heads), of_head, bags)  # (C, S * M, D)
        sums = sums.reshape(-1, heads * channels)[: batch * queries]
    else:
        minus_half = value.new_full((), -0.5)
        x, y = (places - 0.5 + 0.5).unbind(-1)  # rounds as grid_sample(2 * place - 1): at texel centers there are kinks
        x, y = torch.addcmul(minus_half, x, points.width), torch.addcmul(minus_half, y, points.height)
        rows, shares = _corners(x, y, weights, image, *points, heads, locations.shape[3] * locations.shape[4])
        sums = F.embedding_bag(rows, table, per_sample_weights=shares, mode="sum")  # (B * Q * M, D)
    return sums.reshape(batch, queries, heads * channels)


def _table(value: Tensor, spatial_shapes: Sequence[tuple[int, int]]) -> Tensor:
    """(B, N, M, D) -> (B, T * M, D), level after level, line after line, a row for each head."""
    batch, _, heads, channels = value.shape
    levels, start = [], 0
    for h, w in spatial_shapes:
        level = value[:, start : start + h * w].reshape(batch, h, w, heads * channels)
        start = start + h * w
        levels.append(F.pad(level, (0, 0, _BORDER, _BORDER, _BORDER, _BORDER)).flatten(1, 2))
    return torch.cat(levels, dim=1).reshape(batch, -1, channels)


def _points(value: Tensor, spatial_shapes: Sequence[tuple[int, int]], heads: int, points: int) -> _Points:
    origins, texels = [], 0
    for h, w in spatial_shapes:
        origins.append((texels + _BORDER * (w + 2 * _BORDER) + _BORDER) * heads)
        texels = texels + (h + 2 * _BORDER) * (w + 2 * _BORDER)

    def of_points(numbers: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A number for each level -> (M * K,)."""
        by_level = torch.stack([torch.full((), number, dtype=dtype, device=value.device) for number in numbers])
        return by_level[None, :, None].expand(heads, -1, points).reshape(-1)

    head = torch.arange(heads, dtype=torch.int32, device=value.device)  # (M,)
    head = head[:, None].expand(-1, len(spatial_shapes) * points).reshape(-1)  # (M * K,)
    return _Points(
        width=of_points([w for _, w in spatial_shapes], value.dtype),
        height=of_points([h for h, _ in spatial_shapes], value.dtype),
        pitch=of_points([(w + 2 * _BORDER) * heads for _, w in spatial_shapes], torch.int32),
        origin=of_points(origins, torch.int32) + head,
    )


def _corners(
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    image: Tensor,
    width: Tensor,
    height: Tensor,
    pitch: Tensor,
    origin: Tensor,
    heads: int,
    of_head: int,
) -> tuple[Tensor, Tensor]:
    """Rows of the four texels around every point, and what each counts.

    Args:
        x, y: (S, M * K) texels from the center of the level's first one; weights: (S, M * K).
        image: (S, 1) int32, row of the image's first texel.
        width, height, pitch, origin: see `_Points`.
        heads, of_head: M and K.

    Returns:
        (S * M, 4 * K) int32 and (S * M, 4 * K).
    """
    x, y = torch.minimum(x.clamp(min=-2.0), width), torch.minimum(y.clamp(min=-2.0), height)
    column, line = torch.floor(x), torch.floor(y)
    right, below = x - column, y - line
    row = line.to(torch.int32) * pitch + column.to(torch.int32) * heads + origin + image
    row = torch.maximum(row, image)  # a place that is no number has some row; its shares are none
    under = row + pitch
    lower = weights * below
    upper = weights - lower
    lower_right, upper_right = lower * right, upper * right
    shares = [
        (upper - upper_right).reshape(-1, of_head),
        upper_right.reshape(-1, of_head),
        (lower - lower_right).reshape(-1, of_head),
        lower_right.reshape(-1, of_head),
    ]
    row, under = row.reshape(-1, of_head), under.reshape(-1, of_head)
    return torch.cat([row, row + heads, under, under + heads], dim=1), torch.cat(shares, dim=1)


@torch.jit.script_if_tracing
def _sum_by_chunks(
    table: Tensor,
    places: Tensor,
    weights: Tensor,
    image: Tensor,
    width: Tensor,
    height: Tensor,
    pitch: Tensor,
    origin: Tensor,
    heads: int,
    of_head: int,
    bags: int,
) -> Tensor:
    """Table (R, D) and (C, S, M * K, 2), (C, S, M * K), (C, S, 1) -> sums (C, S * M, D)."""
    sums: list[Tensor] = []
    for chunk in range(places.shape[0]):
        x, y = places[chunk].unbind(-1)  # (S, M * K)
        x, y = x * width - 0.5, y * height - 0.5
        rows, shares = _corners(
            x, y, weights[chunk], image[chunk], width, height, pitch, origin, heads, of_head
        )  # fmt: skip
        texels = torch.index_select(table, 0, rows.reshape(-1)).reshape(bags, 4 * of_head, table.shape[1])
        summed = torch.matmul(shares.reshape(bags, 1, 4 * of_head), texels)
        sums.append(summed.reshape(bags, table.shape[1]))  # (S * M, D)
    return torch.stack(sums)

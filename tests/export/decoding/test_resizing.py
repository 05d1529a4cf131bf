"""Resizing in numpy beside torch's `interpolate`."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.export.decoding.resizing import MaskGrid, resize_axis
from focalnet_d2.export.result import Sizes

SIDES = st.integers(1, 70)


def interpolate(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(C, h, w) -> (C, *size)."""
    resized = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], size=size, mode="bilinear")
    return resized[0].numpy()


def random_maps(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


@given(size_in=SIDES, size_out=SIDES)
def test_an_axis_is_resized_as_torch_does(size_in, size_out):
    maps = random_maps(2, size_in, 3)
    rows_first = maps.transpose(1, 0, 2)
    axis = resize_axis(size_in, size_out)
    np.testing.assert_allclose(
        axis.rows(rows_first, 0, size_out).transpose(1, 0, 2), interpolate(maps, (size_out, 3)), atol=1e-4
    )
    by_columns = axis.columns(maps.transpose(0, 2, 1))
    np.testing.assert_allclose(by_columns.transpose(0, 2, 1), interpolate(maps, (size_out, 3)), atol=1e-4)


@given(
    size=st.tuples(SIDES, SIDES), output=st.tuples(SIDES, SIDES), cut=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    rows=st.tuples(SIDES, SIDES),
)  # fmt: skip
def test_two_resizes_and_the_cut_between_them(size, output, cut, rows):
    padded = (4 * size[0], 4 * size[1])
    image = (max(1, padded[0] - cut[0]), max(1, padded[1] - cut[1]))
    maps = random_maps(2, *size)
    wanted = interpolate(interpolate(maps, padded)[:, : image[0], : image[1]], output)
    start = min(rows[0], output[0]) - 1
    stop = min(output[0], start + rows[1])
    grid = MaskGrid(size, Sizes(padded, image, output))
    found = grid.output_rows(np.ascontiguousarray(maps.transpose(1, 0, 2)), start, stop)
    np.testing.assert_allclose(found.transpose(1, 0, 2), wanted[:, start:stop], atol=1e-4)

"""Rows of resized masks equal those of the masks resized as a whole."""

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mask2former.tiled_resize import MaskGrid, linear_interpolation

sizes = st.tuples(st.integers(1, 30), st.integers(1, 30))


def resize(maps: torch.Tensor, size) -> torch.Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def make_grid(low_size, stride: int, cut, output_size, dtype=torch.float64) -> tuple[torch.Tensor, MaskGrid]:
    """Random logits, and a grid whose image lacks `cut` rows and columns of padding, as far as it has so many."""
    logits = torch.randn(3, *low_size, dtype=dtype)
    padded = tuple(stride * side for side in low_size)
    image = tuple(max(1, side - less) for side, less in zip(padded, cut, strict=True))
    return logits, MaskGrid(logits, padded_size=padded, image_size=image, output_size=output_size or image)


grids = st.builds(
    make_grid,
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([1, 3, 4]),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.none() | sizes,
)


def test_taps_by_hand():
    """Four output points an input point: centres lie at -3/8, -1/8, 1/8, 3/8 around it; the ends are held."""
    below, above, weight = linear_interpolation(2, 8, torch.zeros(0))
    assert below.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert above.tolist() == [1] * 8
    assert weight.tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 0.125, 0.375]


@given(grids, st.integers(1, 9))
def test_masks_first(logits_and_grid, rows):
    logits, grid = logits_and_grid
    height, width = grid.image_size
    plain = resize(logits, grid.padded_size)[:, :height, :width]
    plain = resize(plain, grid.output_size)
    for start in range(0, grid.output_size[0], rows):
        tile = grid.output_rows(logits, start, min(start + rows, grid.output_size[0]))
        torch.testing.assert_close(tile, plain[:, start : start + rows], rtol=0, atol=1e-12)


@given(grids, st.integers(1, 9))
def test_class_maps_first(logits_and_grid, rows):
    """Squares stand for what is made of the masks at the resolution of the network."""
    logits, grid = logits_and_grid
    height, width = grid.image_size
    plain = resize(logits, grid.padded_size).square()[:, :height, :width]
    plain = resize(plain, grid.output_size)
    for start in range(0, grid.output_size[0], rows):
        stop = min(start + rows, grid.output_size[0])
        tile = grid.finish_rows(grid.network_rows(logits, start, stop).square(), start, stop)
        torch.testing.assert_close(tile, plain[:, start:stop], rtol=0, atol=1e-12)

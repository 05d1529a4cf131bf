"""The map with the largest value at every pixel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from focalnet_d2.kernels import argmax
from focalnet_d2.kernels.argmax import index_of_largest


@pytest.fixture(params=["compiled", "by tiles", "by rank"])
def _way(request, monkeypatch):
    """Each way to compute it."""
    if request.param != "compiled":
        monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
        monkeypatch.setattr(argmax, "_FEW_BYTES", 0 if request.param == "by tiles" else 2**20)
    elif argmax.LIBRARY.load() is None:
        pytest.skip(argmax.LIBRARY.unavailable_reason())


@pytest.mark.usefixtures("_way")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(maps=arrays(np.int8, st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 9))))
def test_the_first_of_the_largest_wins(maps):
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64):
        given_maps = torch.from_numpy(maps // 40).to(dtype)  # few values: many ties
        np.testing.assert_array_equal(index_of_largest(given_maps).numpy(), (maps // 40).argmax(0))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("size", [(1, 16), (3, 4097), (64, 64)])
def test_negative_infinity_everywhere_and_a_number_that_is_none_at_the_end(size):
    maps = torch.full((6, *size), -math.inf)
    assert (index_of_largest(maps) == 0).all()
    maps[4, -1, -1] = math.nan
    assert torch.equal(index_of_largest(maps).long(), maps.argmax(0))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(("count", "dtype"), [(133, torch.uint8), (256, torch.uint8), (257, torch.int32)])
def test_many_maps_and_more_pixels_than_a_tile(count, dtype):
    maps = torch.randn(count, 130, 150)
    maps[-1, 0, 0] = maps[count - 2, -1, -1] = 100
    largest = index_of_largest(maps)
    assert largest.dtype == dtype
    assert torch.equal(largest.long(), maps.argmax(0))


def test_layout_and_gradients_of_the_maps_do_not_matter():
    maps = torch.randn(20, 30, 7, requires_grad=True).permute(2, 0, 1)[:, ::2]
    assert torch.equal(index_of_largest(maps).long(), maps.argmax(0))


@pytest.mark.usefixtures("_way")
def test_not_a_number_is_the_largest_as_in_argmax():
    maps = torch.randn(5, 3, 4)
    maps[3, 1, 1] = maps[4, 1, 1] = maps[0, 0, 0] = math.nan
    maps[2, 2, 2] = math.inf
    maps[:, 2, 3] = -math.inf
    assert torch.equal(index_of_largest(maps).long(), maps.argmax(0))

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


@pytest.mark.parametrize("few_bytes", [0, 2**20], ids=["by tiles", "by rank"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(maps=arrays(np.int8, st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))))
def test_the_first_of_the_largest_wins(monkeypatch, few_bytes, maps):
    monkeypatch.setattr(argmax, "_FEW_BYTES", few_bytes)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64):
        given_maps = torch.from_numpy(maps // 40).to(dtype)  # few values: many ties
        np.testing.assert_array_equal(index_of_largest(given_maps).numpy(), (maps // 40).argmax(0))


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


@pytest.mark.parametrize("few_bytes", [0, 2**20], ids=["by tiles", "by rank"])
def test_not_a_number_is_the_largest_as_in_argmax(monkeypatch, few_bytes):
    monkeypatch.setattr(argmax, "_FEW_BYTES", few_bytes)
    maps = torch.randn(5, 3, 4)
    maps[3, 1, 1] = maps[4, 1, 1] = maps[0, 0, 0] = math.nan
    maps[2, 2, 2] = math.inf
    maps[:, 2, 3] = -math.inf
    assert torch.equal(index_of_largest(maps).long(), maps.argmax(0))

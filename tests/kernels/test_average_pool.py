"""Both forms of pooling to a grid of cells."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.kernels.average_pool import AVERAGE_POOL, average_pool
from focalnet_d2.kernels.dispatch import portable_operators

SIDES = st.integers(1, 40)


@given(height=SIDES, width=SIDES, cells=st.integers(1, 7))
def test_two_products_pool_as_torch_does(height, width, cells):
    maps = torch.randn(2, 3, height, width, dtype=torch.float64)
    with AVERAGE_POOL.only("two_products"):
        found = average_pool(maps, cells)
    torch.testing.assert_close(found, torch.nn.functional.adaptive_avg_pool2d(maps, cells))


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "meta"])
def test_only_exported_graphs_take_the_products(device):
    assert AVERAGE_POOL.choose(device, torch.float32).name == "torch"
    with portable_operators():
        assert AVERAGE_POOL.choose(device, torch.float32).name == "two_products"

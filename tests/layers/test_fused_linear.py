"""Linear layers with activations in one product, and feed-forward networks in parts, beside what they stand for."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from focalnet_d2.engine.cpu_matmul import onednn_matmul
from focalnet_d2.layers import fused_linear
from focalnet_d2.layers.fused_linear import feed_forward, linear_with

ACTIVATIONS = {"none": nn.Identity(), "relu": nn.ReLU(), "gelu": nn.GELU()}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Linear(6, 16), nn.Linear(16, 6), nn.Dropout(0.5).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_product_is_the_activated_layer(activation, bias):
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 5, bias=bias), torch.randn(2, 3, 6)
    with torch.no_grad(), onednn_matmul():
        found = linear_with(activation, layer, x)
    torch.testing.assert_close(found, ACTIVATIONS[activation](layer(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_autocast_decides_the_type_of_the_product(activation):
    layer, x = nn.Linear(6, 5), torch.randn(3, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = linear_with(activation, layer, x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), ACTIVATIONS[activation](layer(x)), rtol=0.05, atol=0.05)


def test_gradients_reach_input_and_parameters(network):
    linear1, linear2, dropout = network
    x = torch.randn(4, 6, requires_grad=True)
    with onednn_matmul():
        feed_forward(linear1, linear2, x, dropout).sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in (x, *linear1.parameters(), *linear2.parameters()))


@pytest.mark.parametrize("shape", [(10, 6), (2, 5, 6), (0, 6)])
@pytest.mark.parametrize("fast", [True, False])
def test_feed_forward_in_parts_is_the_network(network, monkeypatch, shape, fast):
    linear1, linear2, dropout = network
    monkeypatch.setattr(fused_linear, "ROWS_AT_ONCE", 4)
    x = torch.randn(shape)
    expected = nn.Sequential(linear1, nn.ReLU(), linear2)(x)
    with torch.no_grad():
        if fast:
            with onednn_matmul():
                found = feed_forward(linear1, linear2, x, dropout)
        else:
            found = feed_forward(linear1, linear2, x, dropout)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_dropout_of_hidden_values(network):
    linear1, linear2, dropout = network
    torch.manual_seed(0)
    changed = feed_forward(linear1, linear2, torch.ones(64, 6), dropout.train())
    assert changed.unique(dim=0).shape[0] > 32  # every row has lost others


def test_shapes_without_values():
    with FakeTensorMode(), torch.no_grad(), onednn_matmul():
        found = feed_forward(nn.Linear(6, 16), nn.Linear(16, 6), torch.empty(5, 6), nn.Dropout(0.0))
    assert found.shape == (5, 6)

"""Linear layers with activations in one product, and feed-forward networks in parts, beside what they stand for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from focalnet_d2.layers import fused_linear
from focalnet_d2.layers.fused_linear import feed_forward, linear_with
from focalnet_d2.layers.onednn_matmul import onednn_matmul

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


def with_gradients(form, layer, x):
    """The result, and the gradients of input, weight and bias."""
    leaf = x.detach().requires_grad_()
    y = form(leaf)
    upstream = torch.linspace(-1, 1, y.numel()).view(y.shape).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *layer.parameters()], upstream)]


def assert_near(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert float((one.double() - other.double()).norm()) <= tolerance * float(other.double().norm()) + 1e-6


@settings(deadline=None, max_examples=20)
@given(
    rows=st.sampled_from([1, 3, 40, 200]),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    activation=st.sampled_from(list(ACTIVATIONS)),
)
def test_gradients_are_those_of_the_activated_layer(rows, inputs, outputs, activation):
    """Tall inputs and wide outputs, too, whose weight gradient is a turned product."""
    torch.manual_seed(0)
    layer, x = nn.Linear(inputs, outputs), torch.randn(2, rows, inputs)
    with onednn_matmul():
        found = with_gradients(lambda x: fused_linear.fused_linear(x, *layer.parameters(), activation), layer, x)
        expected = with_gradients(lambda x: ACTIVATIONS[activation](layer(x)), layer, x)
    assert_near(found, expected, 1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("autocast", [True, False])
def test_gradients_in_bfloat16(autocast, activation):
    """Under autocast those of the parameters are float32, as these are."""
    torch.manual_seed(0)
    dtype = torch.float32 if autocast else torch.bfloat16
    layer, x = nn.Linear(24, 40, dtype=dtype), torch.randn(2, 50, 24, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = with_gradients(lambda x: fused_linear.fused_linear(x, *layer.parameters(), activation), layer, x)
        expected = with_gradients(lambda x: ACTIVATIONS[activation](layer(x)), layer, x)
    assert_near(found, expected, 0.1)  # a unit near zero may be on in one of them only


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_elsewhere_it_is_plain_torch(activation):
    layer, x = nn.Linear(6, 7), torch.randn(3, 6)
    found = with_gradients(lambda x: fused_linear.fused_linear(x, *layer.parameters(), activation), layer, x)
    for one, other in zip(found, with_gradients(lambda x: ACTIVATIONS[activation](layer(x)), layer, x), strict=True):
        assert one.equal(other)


def test_gradients_that_nobody_needs():
    layer, x = nn.Linear(6, 7).requires_grad_(False), torch.randn(3, 6)
    with onednn_matmul():
        assert not fused_linear.fused_linear(x, *layer.parameters()).requires_grad
        y = fused_linear.fused_linear(x.requires_grad_(), *layer.parameters())
        (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, layer.weight.sum(0).expand(3, 6))


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

"""Linear layers with activations in one product, and feed-forward networks in parts, beside what they stand for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from focalnet_d2.kernels import linear as module
from focalnet_d2.kernels.cpu_matmul import onednn_matmul
from focalnet_d2.kernels.linear import feed_forward, fused_linear, linear_act

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
        found = linear_act(activation, layer, x)
    torch.testing.assert_close(found, ACTIVATIONS[activation](layer(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_autocast_decides_the_type_of_the_product(activation):
    layer, x = nn.Linear(6, 5), torch.randn(3, 6)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = linear_act(activation, layer, x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), ACTIVATIONS[activation](layer(x)), rtol=0.05, atol=0.05)


def with_gradients(function, layer, x):
    """The result, and the gradients of input, weight and bias."""
    leaf = x.detach().requires_grad_()
    y = function(leaf)
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
        found = with_gradients(lambda x: fused_linear(x, *layer.parameters(), activation), layer, x)
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
        found = with_gradients(lambda x: fused_linear(x, *layer.parameters(), activation), layer, x)
        expected = with_gradients(lambda x: ACTIVATIONS[activation](layer(x)), layer, x)
    assert_near(found, expected, 0.1)  # a unit near zero may be on in one of them only


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_elsewhere_it_is_plain_torch(activation):
    layer, x = nn.Linear(6, 7), torch.randn(3, 6)
    found = with_gradients(lambda x: fused_linear(x, *layer.parameters(), activation), layer, x)
    for one, other in zip(found, with_gradients(lambda x: ACTIVATIONS[activation](layer(x)), layer, x), strict=True):
        assert one.equal(other)


def test_gradients_that_nobody_needs():
    layer, x = nn.Linear(6, 7).requires_grad_(False), torch.randn(3, 6)
    with onednn_matmul():
        assert not fused_linear(x, *layer.parameters()).requires_grad
        y = fused_linear(x.requires_grad_(), *layer.parameters())
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
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    x = torch.randn(shape)
    expected = nn.Sequential(linear1, nn.ReLU(), linear2)(x)
    with torch.no_grad():
        if fast:
            with onednn_matmul():
                found = feed_forward(linear1, linear2, x, dropout)
        else:
            found = feed_forward(linear1, linear2, x, dropout)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("traced", [True, False])
def test_feed_forward_in_a_loop_is_the_network(network, monkeypatch, traced, activation):
    linear1, linear2, dropout = (layer.requires_grad_(False) for layer in network)
    monkeypatch.setattr(module, "ROWS_OF_A_STEP", 4)

    def in_loop(x):
        with module.FEED_FORWARD.only("in_loop"):
            return feed_forward(linear1, linear2, x, dropout, activation)

    if traced:
        in_loop = torch.jit.trace(in_loop, torch.randn(1, 3, 6))
    for shape in [(1, 3, 6), (2, 5, 6), (1, 4, 6), (1, 1, 6), (3, 0, 6), (1, 17, 6)]:
        x = torch.randn(shape)
        expected = nn.Sequential(linear1, ACTIVATIONS[activation], linear2)(x)
        torch.testing.assert_close(in_loop(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("shape", [(2, 5, 24), (3, 24)])
@pytest.mark.parametrize("narrow", [0, 24])
def test_gradients_of_feed_forward_in_parts(monkeypatch, activation, autocast, shape, narrow):
    """Under autocast those of the parameters are float32, and their parts add up in it."""
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    monkeypatch.setattr(module, "NARROW", narrow)
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(24, 40), ACTIVATIONS[activation], nn.Linear(40, 24))
    x, dropout = torch.randn(shape), nn.Dropout(0.0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), onednn_matmul():
        found = with_gradients(lambda x: feed_forward(layers[0], layers[2], x, dropout, activation), layers, x)
        expected = with_gradients(layers, layers, x)
    assert_near(found, expected, 0.1 if autocast else 1e-5)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("narrow", [0, 4])
def test_derivative_of_feed_forward_is_right_and_there_once(monkeypatch, activation, compiled, narrow):
    monkeypatch.setattr(module, "NARROW", narrow)
    if not compiled:
        monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    monkeypatch.setattr(module, "_product", lambda x, weight, bias, activation="none": (
        ACTIVATIONS[activation](nn.functional.linear(x, weight, bias))
    ))  # fmt: skip
    torch.manual_seed(0)
    shapes = (2, 3, 4), (7, 4), (7,), (4, 7), (4,)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *inputs: module._FeedForward.apply(*inputs, activation), inputs)
    (grad,) = torch.autograd.grad(
        module._FeedForward.apply(*inputs, activation).square().sum(), inputs[0], create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("narrow", [0, 8])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_feed_forward_keeps_its_input_and_the_hidden_values_at_most_once(monkeypatch, activation, narrow):
    monkeypatch.setattr(module, "NARROW", narrow)
    linear1, linear2, x = nn.Linear(8, 32), nn.Linear(32, 8), torch.randn(50, 8, requires_grad=True)
    parameters = {one.data_ptr() for one in (linear1.weight, linear1.bias, linear2.weight)}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with onednn_matmul(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = feed_forward(linear1, linear2, x, nn.Dropout(0.0), activation)
    assert y.requires_grad
    assert sum(size for size, _ in kept.values()) == 4 * 50 * (8 if narrow else 8 + 32)


def test_dropout_of_hidden_values(network):
    linear1, linear2, dropout = network
    torch.manual_seed(0)
    changed = feed_forward(linear1, linear2, torch.ones(64, 6), dropout.train())
    assert changed.unique(dim=0).shape[0] > 32  # every row has lost others


def test_shapes_without_values():
    with FakeTensorMode(), torch.no_grad(), onednn_matmul():
        found = feed_forward(nn.Linear(6, 16), nn.Linear(16, 6), torch.empty(5, 6), nn.Dropout(0.0))
    assert found.shape == (5, 6)

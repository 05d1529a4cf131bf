"""Depthwise convolution: values and gradients are those of torch's own, wherever it is taken."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.layers import depthwise
from focalnet_d2.layers.depthwise import DepthwiseConv2d, depthwise_conv


def inputs(shape: tuple[int, ...], kernel: int, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
    return x, torch.randn(shape[1], 1, kernel, kernel, generator=generator, dtype=dtype).requires_grad_()


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(depthwise, "_TILE", (3, 4))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("shape", "kernel"), [((1, 2, 4, 5), 3), ((2, 3, 7, 5), 5), ((1, 2, 2, 9), 7)])
def test_gradcheck(shape, kernel):
    assert torch.autograd.gradcheck(depthwise_conv, inputs(shape, kernel))


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 20),
    height=st.integers(1, 40),
    width=st.integers(1, 140),
    kernel=st.sampled_from([1, 3, 5, 7, 9]),
    channels_last=st.booleans(),
)
def test_gradients_are_those_of_the_plain_convolution(batch, channels, height, width, kernel, channels_last):
    x, weight = inputs((batch, channels, height, width), kernel, torch.float32)
    if channels_last:
        x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = F.conv2d(x, weight, padding=kernel // 2, groups=channels)
    ours = depthwise_conv(x, weight)
    assert plain.equal(ours)
    grad = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(plain, (x, weight), grad)
    for a, b in zip(expected, torch.autograd.grad(ours, (x, weight), grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


def test_gradients_that_nobody_needs():
    x, weight = inputs((1, 2, 6, 6), 5)
    (alone,) = torch.autograd.grad(depthwise_conv(x.detach(), weight).sum(), weight)
    both = torch.autograd.grad(depthwise_conv(x, weight).sum(), (x, weight))
    assert alone.equal(both[1])
    (of_input,) = torch.autograd.grad(depthwise_conv(x, weight.detach()).sum(), x)
    assert of_input.equal(both[0])


@pytest.mark.parametrize("capability", ["AVX2", "AVX512", "DEFAULT"])
def test_layer_takes_it_where_it_was_measured(monkeypatch, capability):
    calls = []
    monkeypatch.setattr(depthwise, "depthwise_conv", lambda x, weight: calls.append(1) or x)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    x = torch.zeros(1, 4, 8, 8)
    large, small = DepthwiseConv2d(4, 5), DepthwiseConv2d(4, 3)
    large(x)
    assert len(calls) == (capability != "DEFAULT")
    calls.clear()
    small(x)
    large.double()(x.double())
    large.float().requires_grad_(False)(x)
    large.requires_grad_(True)
    with torch.no_grad():
        large(x)
    with torch.autocast("cpu", torch.bfloat16):
        large(x)
    assert calls == []


def test_layer_has_the_keys_and_the_start_of_a_convolution():
    torch.manual_seed(0)
    ours = DepthwiseConv2d(6, 5)
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
    assert list(ours.state_dict()) == ["weight"]
    assert ours.weight.equal(plain.weight)

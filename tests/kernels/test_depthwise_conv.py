"""Depthwise convolution: values and gradients are those of torch's own, wherever it is taken."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.kernels import depthwise_conv as module
from focalnet_d2.kernels.depthwise_conv import depthwise_conv


def inputs(shape: tuple[int, ...], kernel: int, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
    return x, torch.randn(shape[1], 1, kernel, kernel, generator=generator, dtype=dtype).requires_grad_()


own_gradient = module._DepthwiseConv.apply


@pytest.mark.parametrize(("shape", "kernel"), [((1, 2, 4, 5), 3), ((2, 3, 7, 5), 5), ((1, 2, 2, 9), 7)])
def test_gradcheck(monkeypatch, shape, kernel):
    monkeypatch.setattr(module, "_TILE", (3, 4))
    assert torch.autograd.gradcheck(own_gradient, inputs(shape, kernel))


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
    ours = own_gradient(x, weight)
    assert plain.equal(ours)
    grad = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(plain, (x, weight), grad)
    for a, b in zip(expected, torch.autograd.grad(ours, (x, weight), grad), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(a.abs().max()))


def test_gradients_that_nobody_needs():
    x, weight = inputs((1, 2, 6, 6), 5)
    (alone,) = torch.autograd.grad(own_gradient(x.detach(), weight).sum(), weight)
    both = torch.autograd.grad(own_gradient(x, weight).sum(), (x, weight))
    assert alone.equal(both[1])
    (of_input,) = torch.autograd.grad(own_gradient(x, weight.detach()).sum(), x)
    assert of_input.equal(both[0])


@pytest.mark.parametrize("capability", ["AVX2", "AVX512", "DEFAULT"])
def test_it_is_taken_where_it_was_measured(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    x, weight = inputs((1, 4, 8, 8), 5, torch.float32)

    def taken(x, weight):
        return "DepthwiseConv" in type(depthwise_conv(x, weight).grad_fn).__name__

    assert taken(x, weight) == (capability != "DEFAULT")
    assert not taken(x, weight[..., 1:4, 1:4])
    assert not taken(x.double(), weight.double())
    assert not taken(x, weight.detach())
    with torch.autocast("cpu", torch.bfloat16):
        assert not taken(x, weight)
    with torch.no_grad():
        assert depthwise_conv(x, weight).grad_fn is None

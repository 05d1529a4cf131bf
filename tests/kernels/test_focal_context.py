"""The local focal context: every implementation computes the same sums, with the right gradients, for any shape."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT, focal_context

IMPLEMENTATIONS = [one.name for one in FOCAL_CONTEXT.available("cpu", torch.float64)]
each_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def by_definition(context, gates, kernels):
    """The sum written out: one tap after the other on a map with zeros around."""
    batch, height, width, channels = context.shape
    local = torch.zeros_like(context)
    for level, kernel in enumerate(kernels):
        size = kernel.shape[-1]
        wide = context.new_zeros(batch, height + size - 1, width + size - 1, channels)
        wide[:, size // 2 : size // 2 + height, size // 2 : size // 2 + width] = context
        taps = [
            wide[:, row : row + height, column : column + width] * kernel[:, 0, row, column]
            for row in range(size)
            for column in range(size)
        ]
        summed = torch.stack(taps).sum(0)
        context = summed * (1 + torch.erf(summed / math.sqrt(2))) / 2
        local = local + context * gates[..., level : level + 1]
    return local, context.mean((1, 2))


def inputs_for(shape, kernels, *, dtype=torch.float64, slices=True):
    """Random context and gates, as slices of one tensor as the modulation has them or each alone; kernels."""
    draws = torch.Generator().manual_seed(0)
    batch, height, width, channels = shape
    mixed = torch.randn(batch, height, width, 2 * channels + len(kernels) + 1, generator=draws, dtype=dtype)
    context, gates = mixed[..., channels : 2 * channels], mixed[..., 2 * channels : 2 * channels + len(kernels)]
    if not slices:
        context, gates = context.contiguous(), gates.contiguous()
    weights = [torch.randn(channels, 1, k, k, generator=draws, dtype=dtype) / k for k in kernels]
    return context, gates, weights


def outputs_and_gradients(implementation, context, gates, kernels):
    """Both results, and the gradients of every input for fixed gradients of the results."""
    leaves = [tensor.detach().requires_grad_() for tensor in (context, gates, *kernels)]
    results = focal_context(leaves[0], leaves[1], leaves[2:], implementation)
    draws = torch.Generator().manual_seed(1)
    grads = [torch.randn(result.shape, generator=draws).to(result.dtype) for result in results]
    return [result.detach() for result in (*results, *torch.autograd.grad(results, leaves, grads))]


@each_implementation
def test_one_channel_by_hand(implementation):
    """A kernel that is 1 in its middle leaves the map as it is."""
    context = torch.tensor([0.0, 1.0, -1.0, 2.0]).view(1, 2, 2, 1)
    gates = torch.tensor([1.0, 10.0, 100.0, 0.0]).view(1, 2, 2, 1)
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[..., 1, 1] = 1
    local, pooled = focal_context(context, gates, [kernel], implementation)
    assert local.flatten().tolist() == pytest.approx([0.0, 8.413447, -15.865525, 0.0], rel=1e-6)
    assert pooled.item() == pytest.approx((0.8413447 - 0.15865525 + 1.9544997) / 4, rel=1e-6)


@each_implementation
@pytest.mark.parametrize("kernels", [(3,), (3, 5, 7), (9, 3), (1, 5)])
@pytest.mark.parametrize("slices", [True, False])
def test_equals_the_definition(implementation, kernels, slices):
    arguments = inputs_for((2, 5, 7, 3), kernels, slices=slices)
    for found, expected in zip(focal_context(*arguments, implementation), by_definition(*arguments), strict=True):
        torch.testing.assert_close(found, expected)


@each_implementation
@pytest.mark.parametrize("kernels", [(3, 5), (5,)])
def test_gradients(implementation, kernels):
    context, gates, weights = inputs_for((2, 4, 3, 2), kernels)
    arguments = [tensor.detach().requires_grad_() for tensor in (context, gates, *weights)]
    assert torch.autograd.gradcheck(lambda x, g, *k: focal_context(x, g, k, implementation), arguments)


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 70),
    kernels=st.lists(st.sampled_from([1, 3, 5, 7, 9, 11, 13]), min_size=1, max_size=4),
    slices=st.booleans(),
)
def test_implementations_agree_to_float32(batch, height, width, channels, kernels, slices):
    arguments = inputs_for((batch, height, width, channels), kernels, slices=slices, dtype=torch.float32)
    context, gates, weights = arguments
    exact = outputs_and_gradients("plain", context.double(), gates.double(), [kernel.double() for kernel in weights])
    for implementation in IMPLEMENTATIONS:
        for found, expected in zip(outputs_and_gradients(implementation, *arguments), exact, strict=True):
            assert found.dtype == torch.float32
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@each_implementation
def test_no_levels_give_zeros_and_the_own_mean(implementation):
    context = torch.randn(2, 3, 4, 5)
    local, pooled = focal_context(context, torch.randn(2, 3, 4, 0), [], implementation)
    assert local.equal(torch.zeros_like(context))
    torch.testing.assert_close(pooled, context.mean((1, 2)))


def test_what_does_not_fit_is_refused():
    context, gates, weights = inputs_for((1, 3, 3, 2), (3, 5))
    with pytest.raises(ValueError, match="2 gates for 1 focal levels"):
        focal_context(context, gates, weights[:1])
    with pytest.raises(ValueError, match="no implementation 'fast'; choose one of"):
        focal_context(context, gates, weights, "fast")

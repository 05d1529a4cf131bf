"""Masked attention: all implementations agree with torch's kernel, and a GPU takes that kernel."""

import pytest
import torch
from torch import nn

from focalnet_d2.kernels.masked_attention import MASKED_ATTENTION, masked_attention


@pytest.mark.parametrize("implementation", [one.name for one in MASKED_ATTENTION.implementations])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_torchs_kernel(implementation, masked):
    query, key, value = (torch.randn(2, 3, n, 4, dtype=torch.float64) for n in (5, 6, 6))
    attn_mask = torch.rand(2, 1, 5, 6) > 0.6 if masked else None
    if attn_mask is not None:
        attn_mask[..., 0] = False
    seen = None if attn_mask is None else ~attn_mask
    expected = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    with MASKED_ATTENTION.only(implementation):
        torch.testing.assert_close(masked_attention(query, key, value, attn_mask), expected)


def test_a_cpu_takes_two_products_and_other_devices_torchs_kernel():
    devices, query = ("cpu", "cuda", "mps", "meta"), torch.empty(0)
    taken = {device: MASKED_ATTENTION.choose(device, torch.float32, query).name for device in devices}
    assert taken == {"cpu": "recomputed", "cuda": "torch", "mps": "torch", "meta": "torch"}
    with torch.no_grad():
        assert MASKED_ATTENTION.choose("cpu", torch.float32, query).name == "two_products"


def random_inputs(dtype):
    query, key, value = (torch.randn(2, 3, n, 4, dtype=dtype, requires_grad=True) for n in (5, 6, 6))
    attn_mask = torch.rand(2, 1, 5, 6) > 0.6
    attn_mask[..., 0] = False
    return query, key, value, attn_mask


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_from_weights_that_are_computed_again(masked):
    query, key, value, attn_mask = random_inputs(torch.float64)
    attn_mask = attn_mask if masked else None
    assert torch.autograd.gradcheck(
        lambda query, key, value: masked_attention(query, key, value, attn_mask), (query, key, value)
    )


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_those_of_kept_weights(autocast):
    query, key, value, attn_mask = random_inputs(torch.bfloat16 if autocast else torch.float32)
    found = {}
    for name in ("recomputed", "two_products"):
        with MASKED_ATTENTION.only(name), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            result = masked_attention(query, key, value, attn_mask)
        upstream = torch.linspace(-1, 1, result.numel()).view(result.shape).to(result.dtype)
        found[name] = [result, *torch.autograd.grad(result, (query, key, value), upstream)]
    for one, other in zip(*found.values(), strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other)

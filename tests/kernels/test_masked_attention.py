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
    taken = {device: MASKED_ATTENTION.choose(device, torch.float32).name for device in ("cpu", "cuda", "mps", "meta")}
    assert taken == {"cpu": "two_products", "cuda": "torch", "mps": "torch", "meta": "torch"}

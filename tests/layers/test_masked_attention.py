"""Masked attention against torch's own module, which has the same parameters."""

import pytest
import torch
from torch import nn

from focalnet_d2.layers.masked_attention import MaskedAttention


def pair(dim: int = 8, num_heads: int = 2) -> tuple[MaskedAttention, nn.MultiheadAttention]:
    ours = MaskedAttention(dim, num_heads=num_heads).double()
    nn.init.normal_(ours.in_proj_bias)
    theirs = nn.MultiheadAttention(dim, num_heads, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("masked", [False, True])
def test_equals_multihead_attention(masked):
    ours, theirs = pair()
    query, key, value = (torch.randn(3, n, 8, dtype=torch.float64) for n in (4, 6, 6))
    attn_mask = torch.rand(3, 4, 6) > 0.6 if masked else None
    if masked:
        attn_mask[..., 0] = False  # every query sees something
    mask = None if attn_mask is None else attn_mask.repeat_interleave(2, dim=0)
    expected = theirs(query, key, value, attn_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(ours(query, key, value, attn_mask), expected)


def test_a_blocked_key_changes_nothing():
    ours, _ = pair()
    query, memory = torch.randn(1, 2, 8, dtype=torch.float64), torch.randn(1, 5, 8, dtype=torch.float64)
    attn_mask = torch.zeros(1, 2, 5, dtype=torch.bool)
    attn_mask[0, 0, 3] = True
    before = ours(query, memory, memory, attn_mask)
    memory[0, 3] += 7
    after = ours(query, memory, memory, attn_mask)
    torch.testing.assert_close(before[0, 0], after[0, 0])
    assert not torch.allclose(before[0, 1], after[0, 1])


def test_gradient_reaches_every_parameter():
    ours, _ = pair()
    tokens = torch.randn(1, 4, 8, dtype=torch.float64)
    ours(tokens, tokens, tokens).square().sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in (ours.in_proj_weight, ours.out_proj.weight))


def test_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="dim 10 is not a multiple of num_heads 4"):
        MaskedAttention(10, num_heads=4)

"""Zeros for padding: no copy where there is none, and a choice that graphs and other devices do not make."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from focalnet_d2.kernels.padding import ZERO_PADDING, zero_padding


def test_padding_becomes_zeros_and_gets_no_gradient():
    tokens, mask = torch.randn(2, 3, 4, requires_grad=True), torch.zeros(2, 3, dtype=torch.bool)
    mask[1, 2] = True
    zeroed = zero_padding(tokens, mask)
    assert zeroed[1, 2].eq(0).all()
    assert zeroed[~mask].equal(tokens[~mask])
    (grad,) = torch.autograd.grad(zeroed.sum(), tokens)
    assert grad.equal((~mask)[..., None].expand_as(grad).float())


def test_without_padding_there_is_no_copy():
    tokens = torch.randn(2, 3, 4)
    assert zero_padding(tokens, torch.zeros(2, 3, dtype=torch.bool)) is tokens


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_nobody_asks_a_mask_without_values(device):
    mode = FakeTensorMode()
    with mode:
        mask = torch.zeros(2, 3, dtype=torch.bool, device=device)
        assert ZERO_PADDING.choose(device, torch.float32, mask).name == "filled"


def test_a_traced_graph_serves_images_with_padding():
    without = torch.zeros(2, 3, dtype=torch.bool)
    traced = torch.jit.trace(zero_padding, (torch.randn(2, 3, 4), without))
    assert traced(torch.ones(2, 3, 4), ~without).eq(0).all()

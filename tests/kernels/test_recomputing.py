"""Results that are made again: what is kept, the same gradients, autocast, views, and where nothing changes."""

import pytest
import torch
from torch import nn

from focalnet_d2.kernels import recomputing as module
from focalnet_d2.kernels.recomputing import cast, keep, keeping_everything, keeping_less, recomputed
from focalnet_d2.planning.live_memory import LiveMemory

ROWS = 50


class Branch(nn.Module):
    """A norm before a product, the product of both, and another norm before another product."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm1, self.norm2 = nn.LayerNorm(6), nn.LayerNorm(6)
        self.linear1, self.linear2 = nn.Linear(6, 6), nn.Linear(6, 6)
        self.calls = 0

    def first(self, x):
        self.calls += 1
        return self.norm1(x)

    def forward(self, x):
        y = recomputed(self.first, x)
        z = recomputed(torch.mul, y, self.linear1(y.view(-1, 2, 6)).view_as(y))
        return x + self.linear2(recomputed(self.norm2, z))


def gradients(network, x, less, autocast=False):
    """The result and all gradients."""
    leaves = [x.detach().requires_grad_(), *network.parameters()]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if less:
            with keeping_less():
                y = network(leaves[0])
        else:
            y = network(leaves[0])
    return [y, *torch.autograd.grad(y.float().square().sum(), leaves)]


def living_bytes(network, x, less):
    """Of the tensors that a forward pass leaves, its result among them."""
    network(x)
    with LiveMemory() as memory:
        if less:
            with keeping_less():
                y = network(x)
        else:
            y = network(x)
    assert y.requires_grad
    return memory.now


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_are_the_same_bits(autocast):
    network, x = Branch(), torch.randn(ROWS, 6)
    expected, found = (gradients(network, x, less, autocast) for less in (False, True))
    assert all(one.equal(other) for one, other in zip(found, expected, strict=True))


def test_each_result_is_made_again_once_for_all_that_ask():
    network = Branch()
    gradients(network, torch.randn(ROWS, 6), less=True)
    assert network.calls == 2
    gradients(network, torch.randn(ROWS, 6), less=False)
    assert network.calls == 3


def test_results_are_not_kept():
    """Of seven tensors of the size of the input stay: the first product, and the result."""
    network, x = Branch(), torch.randn(ROWS, 6, requires_grad=True)
    size = x.nbytes
    assert living_bytes(network, x, less=False) - living_bytes(network, x, less=True) == 2 * size


def test_a_graph_that_is_kept_gives_its_gradients_twice():
    network, x = Branch(), torch.randn(ROWS, 6, requires_grad=True)
    with keeping_less():
        loss = network(x).square().sum()
    first, again = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert first.equal(again)


def test_second_derivatives_go_through_what_is_made_again():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def function(x):
        with keeping_less():
            return recomputed(torch.sin, x) ** 3

    assert torch.autograd.gradgradcheck(function, [x])


def test_nothing_is_remembered_outside_without_gradients_and_of_inputs():
    network, x = Branch(), torch.randn(ROWS, 6, requires_grad=True)
    network(x)
    with torch.no_grad(), keeping_less():
        network(x)
    with keeping_less():
        assert recomputed(nn.Identity(), x) is x
        recomputed(torch.Tensor.flatten, x)
    assert not module._RECIPES


def test_recipes_go_with_their_results():
    network, x = Branch(), torch.randn(ROWS, 6, requires_grad=True)
    with keeping_less():
        y = network(x)
        assert not module._RECIPES
    del y


def test_a_narrower_copy_is_kept_only_if_its_source_is():
    x = torch.randn(ROWS, 6, requires_grad=True)
    with keeping_less():
        norm = recomputed(nn.LayerNorm(6), x)
        narrow, plain = cast(norm, torch.bfloat16), cast(x, torch.bfloat16)
        assert module._recipe_of(narrow) is not None
        assert module._recipe_of(plain) is None
        assert cast(norm, torch.float32) is norm


def test_a_result_can_be_kept_after_all():
    x = torch.randn(ROWS, 6, requires_grad=True)
    with keeping_less():
        norm = recomputed(nn.LayerNorm(6), x)
        keep(norm)
        assert module._recipe_of(norm) is None
    with keeping_everything(), keeping_less():
        assert module._recipe_of(recomputed(nn.LayerNorm(6), x)) is None

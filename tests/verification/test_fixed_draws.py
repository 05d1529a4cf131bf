"""What is drawn does not depend on how much is drawn, nor on what was drawn before."""

import pytest
import torch
from torch import nn

from focalnet_d2.verification.fixed_draws import FixedDraws

DRAWS = {
    "rand": lambda count: torch.rand(count),
    "rand_like": lambda count: torch.rand_like(torch.zeros(count)),
    "randn": lambda count: torch.randn(count),
    "randint": lambda count: torch.randint(10, (count,)),
    "randint between": lambda count: torch.randint(2, 10, (count,)),
    "randint_like": lambda count: torch.randint_like(torch.zeros(count), 10),
    "uniform_": lambda count: torch.zeros(count).uniform_(-1, 3),
    "normal_": lambda count: torch.zeros(count).normal_(4, 1),
    "bernoulli_": lambda count: torch.zeros(count).bernoulli_(0.7),
    "bernoulli_ of shares": lambda count: torch.zeros(count).bernoulli_(torch.full((count,), 0.7)),
    "dropout": lambda count: nn.functional.dropout(torch.ones(count), 0.1),
    "randperm": lambda count: torch.randperm(count),
}


@pytest.mark.parametrize("name", DRAWS)
def test_fewer_draws_are_the_first_of_more(name):
    with FixedDraws():
        few, many, again = (DRAWS[name](count) for count in (3, 7, 7))
    assert torch.equal(few, many[:3])
    assert torch.equal(many, again)
    assert many.dtype == DRAWS[name](7).dtype


def test_values_are_in_the_middle():
    with FixedDraws():
        assert torch.rand(2).tolist() == [0.5, 0.5]
        assert torch.zeros(1).uniform_(-1, 3).tolist() == [1.0]
        assert torch.randint(2, 10, (1,)).tolist() == [6]
        assert torch.zeros(1).bernoulli_(0.3).tolist() == [0.0]
        assert torch.randperm(3).tolist() == [0, 1, 2]
    assert torch.rand(2).tolist() != [0.5, 0.5]

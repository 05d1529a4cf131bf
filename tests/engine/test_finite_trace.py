"""Which module is blamed for a number that is not finite, and that healthy models are not."""

import math
from typing import NamedTuple

import pytest
import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from focalnet_d2.engine.finite_trace import FiniteTrace, floats_in, ranges
from tests.modeling.test_contract import sample
from tests.recipes import recipe_named


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Masking(nn.Module):
    def forward(self, x):
        return x.masked_fill(x > 0, -math.inf)


class Difference(nn.Module):
    def forward(self, x):
        return x - x


class Functional(nn.Module):
    """Its own code makes NaN, after a child that does not."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x):
        return (self.linear(x) * 0 - 1).sqrt()


class Model(nn.Sequential):
    def forward(self, x):
        return super().forward(x).sum()


def trace(model: nn.Module, x: Tensor):
    with FiniteTrace(model) as found:
        loss = model(x)
        if loss.requires_grad:
            loss.backward()
    return found.findings


def test_the_first_module_is_named_with_its_inputs_and_its_operation():
    inner = nn.Sequential(nn.Identity(), Log())
    found = trace(Model(nn.ReLU(), inner, nn.Linear(2, 2)), torch.tensor([[3.0, -1.0]]))
    assert found.forward.startswith("1.1 (Log) makes infinity (1 of 2 numbers) from inputs between 0 and 3, by log at ")
    assert "test_finite_trace.py:" in found.forward


def test_nan_that_the_code_of_a_container_makes_is_its_own():
    found = trace(Model(Functional(), nn.Linear(2, 2)), torch.ones(1, 2))
    assert found.forward.startswith("0 (Functional) makes NaN (2 of 2 numbers) from inputs between 1 and 1, by sqrt at")


def test_infinity_that_is_meant_is_no_fault_and_what_comes_of_it_is():
    x = torch.tensor([[3.0, -1.0]])
    assert trace(nn.Sequential(Masking(), nn.Sigmoid()), x).forward is None
    found = trace(nn.Sequential(Masking(), nn.Sequential(Difference())), x)
    assert found.forward.startswith("1.0 (Difference) makes NaN (1 of 2 numbers)")
    assert "from inputs between -1 and -1 and infinity" in found.forward


def test_weights_that_were_not_finite_before_are_named():
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight[0, 0] = math.nan
    assert trace(Model(linear), torch.ones(1, 2)).forward.endswith("; its weight was not finite before")


def test_inputs_that_are_not_finite_are_nobodys_fault():
    assert trace(Model(nn.Linear(2, 2), Log()), torch.full((1, 2), math.nan)).forward is None


def test_the_first_gradient_that_is_not_finite_in_backward_order():
    """That of a square root at 0 is infinite."""

    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    model = Model(nn.Linear(2, 2, bias=False), nn.Sequential(nn.Identity(), Root()), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.fill_(0.0)
        model[2].weight.fill_(0.5)
    found = trace(model, torch.ones(1, 2))
    assert found.forward is None
    assert found.backward.startswith("SqrtBackward0 in 1.1 (Root) makes a gradient that is not finite from gradients ")
    assert found.backward.endswith("between 0.5 and 0.5")
    assert model[0].weight.grad.isinf().all()


def test_the_model_is_afterwards_as_it_was():
    model = Model(nn.Linear(2, 2))
    trace(model, torch.ones(1, 2))
    assert not model._forward_hooks
    assert not model[0]._forward_pre_hooks


class Pair(NamedTuple):
    one: Tensor
    other: list


def test_floats_in_every_container():
    instances = Instances((4, 4), gt_boxes=Boxes(torch.ones(1, 4)), gt_classes=torch.zeros(1, dtype=torch.int64))
    found = list(floats_in(Pair(torch.ones(2), [{"a": instances, "b": "text", "c": torch.zeros(0)}])))
    assert [len(value.flatten()) for value in found] == [2, 4]


def test_ranges_say_what_there_is():
    assert ranges([torch.tensor([1.0, -2.5]), torch.tensor([math.nan])]) == "between -2.5 and 1 and NaN"
    assert ranges([torch.tensor([math.inf])]) == "that are infinity"
    assert ranges([]) == "without numbers"


@pytest.mark.parametrize("name", ["dino_focalnet_mini_quickstart", "mask2former_focalnet_mini_quickstart"])
def test_a_healthy_model_is_not_blamed(name):
    """DINO has infinite logits of boxes on padding, Mask2Former infinite weights of masked attention."""
    torch.set_num_threads(1)
    model = instantiate(recipe_named(name).model).train()
    with EventStorage(0), FiniteTrace(model) as found:
        sum(model([sample(1)]).values()).backward()
    assert found.findings == (None, None)

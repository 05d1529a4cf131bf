"""What `train.freeze` names learns nothing, and everything else does."""

import logging

import pytest
import torch
from torch import nn

from focalnet_d2.engine.freezing import freeze
from focalnet_d2.engine.optimizer import parameter_groups
from tests.modeling.small_detectors import tiny_atss


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.bn = nn.BatchNorm2d(2)

    def forward(self, x):
        return self.bn(self.conv(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(Stage(), Stage())
        self.head = Stage()

    def forward(self, x):
        return self.head(self.backbone(x))


def frozen(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], set()),
        (["backbone.0"], {f"backbone.0.{layer}.{name}" for layer in ("conv", "bn") for name in ("weight", "bias")}),
        (["*.bn", "head.conv.bias"], {f"{stage}.bn.{name}" for stage in ("backbone.0", "backbone.1", "head")
                                      for name in ("weight", "bias")} | {"head.conv.bias"}),
        (["backbone.*.conv.weight"], {"backbone.0.conv.weight", "backbone.1.conv.weight"}),
        (["backbone.*", "head.bn"], {f"backbone.{stage}.{layer}.{name}" for stage in (0, 1) for layer in ("conv", "bn")
                                     for name in ("weight", "bias")} | {"head.bn.weight", "head.bn.bias"}),
    ],
)  # fmt: skip
def test_names_stand_for_all_below_them_and_stars_for_anything(patterns, expected):
    model = Model()
    freeze(model, patterns)
    assert frozen(model) == expected
    members = {
        id(p) for group in parameter_groups(model, lr=1, weight_decay=0, decay_rule="all") for p in group["params"]
    }
    assert members == {id(p) for name, p in model.named_parameters() if name not in expected}


def test_frozen_norms_keep_their_statistics_and_others_do_not():
    model = Model()
    freeze(model, ["backbone"])
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    x = torch.randn(4, 2, 3, 3) * 5 + 1
    model(x).sum().backward()
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name]) == name.startswith("backbone")
    reference = Model()
    reference.load_state_dict({**model.state_dict(), **before})
    torch.testing.assert_close(model.backbone(x), reference.backbone.eval()(x))


def test_a_network_learns_all_but_its_backbone():
    model = tiny_atss()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freeze(model, ["backbone.bottom_up.*"])
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimizer.step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith("backbone.bottom_up.") for name in changed)


def test_what_is_frozen_is_said(caplog):
    caplog.set_level(logging.INFO)
    freeze(Model(), ["backbone.0", "*.bias"])
    assert "Frozen by backbone.0: 4 tensors, 10 numbers" in caplog.text
    assert "Frozen by *.bias: 6 tensors, 12 numbers" in caplog.text
    assert "12 numbers are left to learn; 1 frozen norms keep their statistics" in caplog.text


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["backbone.2"], r"'backbone\.2', which no parameter of the model fits: near are .*backbone\.[01]"),
        (["backbone", "haed"], r"'haed'.* near are .*head"),
        (["*"], r"train\.freeze=\['\*'\] freezes the whole model"),
    ],
)
def test_a_name_that_nothing_has_and_a_model_without_anything_to_learn(patterns, message):
    with pytest.raises(ValueError, match=message):
        freeze(Model(), patterns)

"""Parameter groups: every trainable parameter once, with the rate and the decay of its rule."""

import pytest
import torch
from torch import nn

from focalnet_d2.engine.optimizer import DECAY_RULES, BackboneLrFactor, build_adamw, parameter_groups


class Stage(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(2, 2)
        self.norm1 = nn.LayerNorm(2)
        self.ln = nn.LayerNorm(2)
        self.gamma_1 = nn.Parameter(torch.ones(2))
        self.relative_position_bias_table = nn.Parameter(torch.ones(3, 2))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"bottom_up": Stage(), "input_proj": nn.Linear(2, 2)})
        self.query = nn.Embedding(3, 2)
        self.norm_like = nn.Linear(2, 2, bias=False)
        self.group = nn.GroupNorm(1, 2)
        self.batch_norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(2, 2)
        self.same_head = self.head
        self.tied = nn.Linear(2, 2, bias=False)
        self.tied.weight = self.head.weight
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)


S = "backbone.bottom_up."
VECTORS = ("group.weight", "group.bias", "batch_norm.weight", "batch_norm.bias")
EXEMPT = {
    "all": set(),
    "detectron2": {S + "norm1.weight", S + "norm1.bias", S + "ln.weight", S + "ln.bias", *VECTORS},
    "mmdetection": {S + "norm1.weight", S + "norm1.bias", S + "relative_position_bias_table", "norm_like.weight"},
    "mask2former": {S + "norm1.weight", S + "norm1.bias", S + "ln.weight", S + "ln.bias", *VECTORS,
            "query.weight", S + "relative_position_bias_table"},
    "imagenet": {S + "norm1.weight", S + "norm1.bias", S + "ln.weight", S + "ln.bias", *VECTORS,
            S + "gamma_1", S + "proj.bias", "backbone.input_proj.bias", "head.bias"},
}  # fmt: skip


def settings(model, groups):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


@pytest.mark.parametrize("rule", DECAY_RULES)
def test_exempt_parameters_of_each_rule(rule):
    model = Model()
    found = settings(model, parameter_groups(model, lr=1.0, weight_decay=0.5, decay_rule=rule))
    assert {name for name, (_, decay) in found.items() if decay == 0} == EXEMPT[rule]
    assert {decay for _, decay in found.values()} <= {0.0, 0.5}


def test_every_trainable_parameter_once_and_frozen_ones_never():
    model = Model()
    groups = parameter_groups(model, lr=1.0, weight_decay=0.5, decay_rule="detectron2")
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(p) for p in model.parameters() if p.requires_grad}


def test_only_the_backbone_is_slower_and_not_the_projections_beside_it():
    model = Model()
    factor = BackboneLrFactor(factor=0.1, prefix="backbone.bottom_up")
    found = settings(
        model, parameter_groups(model, lr=2.0, weight_decay=0.5, decay_rule="detectron2", lr_factor=factor)
    )
    assert {name for name, (lr, _) in found.items() if lr == pytest.approx(0.2)} == {
        name for name in found if name.startswith(S)
    }
    assert found["backbone.input_proj.weight"] == (2.0, 0.5)


def test_adamw_keeps_the_groups():
    optimizer = build_adamw(Model(), lr=1e-3, weight_decay=0.1, betas=[0.8, 0.9], decay_rule="detectron2")
    assert optimizer.defaults["betas"] == (0.8, 0.9)
    assert sorted(group["weight_decay"] for group in optimizer.param_groups) == [0.0, 0.1]


def test_wrong_rule_and_nothing_to_train():
    with pytest.raises(ValueError, match="detectron2, mmdetection, mask2former, imagenet, all"):
        parameter_groups(Model(), lr=1.0, weight_decay=0.1, decay_rule="none")
    with pytest.raises(ValueError, match="no trainable parameter"):
        parameter_groups(Model().requires_grad_(False), lr=1.0, weight_decay=0.1, decay_rule="detectron2")

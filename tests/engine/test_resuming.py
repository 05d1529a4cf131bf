"""Settings of a run that goes on: what changed is said, numbers of the optimizer and the schedule take effect."""

from contextlib import nullcontext

import pytest
import torch
from detectron2.solver import LRMultiplier
from fvcore.common.param_scheduler import MultiStepParamScheduler
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.engine.resuming import changed_settings, log_changes, new_settings

RECIPE = {"optimizer": {"lr": 0.1, "betas": [0.9, 0.99], "decay_rule": "all"}, "train": {"max_iter": 4, "amp": "off"}}


def recipe(**changes):
    made = OmegaConf.create(RECIPE)
    for key, value in changes.items():
        OmegaConf.update(made, key.replace("__", "."), value)
    return made


def test_each_changed_setting_is_a_line():
    now = recipe(optimizer__lr=0.2, optimizer__betas=[0.9, 0.95], train__amp="bf16", train__extra=None)
    assert list(changed_settings(recipe(), now)) == [
        "optimizer.lr: 0.1 -> 0.2",
        "optimizer.betas.1: 0.99 -> 0.95",
        "train.amp: off -> bf16",
        "train.extra: not set -> None",
    ]
    assert changed_settings(recipe(), recipe()) == {}


def test_true_is_not_one():
    assert list(changed_settings(recipe(), recipe(train__max_iter=4.0))) == ["train.max_iter: 4 -> 4.0"]


def test_changes_are_logged_and_an_unchanged_recipe_says_nothing(caplog):
    log_changes(recipe_to_yaml(recipe()), recipe())
    log_changes("", recipe())
    assert caplog.text == ""
    log_changes(recipe_to_yaml(recipe()), recipe(optimizer__lr=0.2))
    assert "\n  optimizer.lr: 0.1 -> 0.2" in caplog.text


def test_other_groups_of_parameters_are_refused():
    with pytest.raises(ValueError, match=r"optimizer\.decay_rule: all -> imagenet.*train\.init_checkpoint"):
        log_changes(recipe_to_yaml(recipe()), recipe(optimizer__decay_rule="imagenet"))


@pytest.mark.parametrize(
    ("before", "now", "is_refused"),
    [
        ({}, {"train__freeze": []}, False),
        ({"train__freeze": []}, {"train__freeze": ["backbone"]}, True),
        ({"train__freeze": ["backbone"]}, {"train__freeze": []}, True),
        ({"train__freeze": ["backbone"]}, {"train__freeze": ["backbone"]}, False),
        ({}, {"optimizer__layer_decay": 0.8}, True),
        ({"optimizer__layer_decay": 0.8}, {"optimizer__layer_decay": 0.9}, False),
        ({}, {"optimizer__layer_decay": 1.0}, False),
    ],
)
def test_what_is_frozen_and_whether_rates_fall_with_depth_decide_the_groups(before, now, is_refused):
    with pytest.raises(ValueError, match="fits other settings") if is_refused else nullcontext():
        log_changes(recipe_to_yaml(recipe(**before)), recipe(**now))


def build(lr, max_iter, weight_decay=0.0):
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([{"params": [weight], "lr": lr}], lr=lr, weight_decay=weight_decay)
    return optimizer, LRMultiplier(
        optimizer, MultiStepParamScheduler([1.0, 0.1], milestones=[8], num_updates=10), max_iter
    )


def advance(optimizer, scheduler, steps):
    rates = []
    for _ in range(steps):
        optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("lr", "max_iter"), [(0.1, 8), (0.1, 20), (0.3, 8), (0.3, 20)])
def test_rates_from_the_resumed_iteration_on_are_those_of_the_new_settings(lr, max_iter):
    before = build(0.1, 4)
    advance(*before, 4)
    states = [part.state_dict() for part in before]
    resumed = build(lr, max_iter, weight_decay=0.5)
    with new_settings(*resumed):
        for part, state in zip(resumed, states):
            part.load_state_dict(state)
    assert resumed[0].param_groups[0]["weight_decay"] == 0.5
    assert resumed[0].state_dict()["state"][0]["step"] == 4
    straight = build(lr, max_iter)
    expected = advance(*straight, 8)[4:]
    assert advance(*resumed, 4) == expected
    assert resumed[1].state_dict() == straight[1].state_dict()
    assert resumed[1].get_last_lr() == straight[1].get_last_lr()

"""What overrides may build, and what a recipe must have before a run begins."""

import os

import pytest
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import RecipeError, apply_overrides, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.recipe_check import check_complete
from tests.recipes import RECIPES, recipe_named

RECIPE = recipe_to_yaml(recipe_named("dino_focalnet_mini_quickstart"))


def overridden(*overrides: str, trust: bool = False):
    return apply_overrides(recipe_from_yaml(RECIPE), overrides, trust=trust)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer._target_=os.system", r"optimizer\._target_ is os\.system, .* --trust"),
        ("optimizer={_target_:os.system}", r"optimizer\._target_ is os\.system, .* --trust"),
        ("model._target_=dino.model.os.system", r"no part of this project"),
        ("optimizer._target_=null", r"optimizer\._target_ is null: it must be the full name"),
        ("model._target_=null", r"model\._target_ is null"),
        ("model._target_=3", r"model\._target_ is"),
        ("optimizer._target_=torch.nn.Linear", r"torch\.nn\.Linear, which does not take lr, .* of optimizer"),
        ("dataloader.train=null", r"dataloader\.train is null: it must be a group"),
        ("dataloader.test=null", r"dataloader\.test is null"),
        ("dataloader.evaluator=null", r"dataloader\.evaluator is null: it must be a group of settings"),
        ("dataloader.train.mapper=null", r"dataloader\.train\.mapper is null"),
        ("dataloader.test.dataset=null", r"dataloader\.test\.dataset is null"),
        ("optimizer.betas=[0.9]", r"optimizer\.betas is \[0\.9\]: it must be a list of 2"),
        ("optimizer.betas=[0.9,0.99,0.999]", r"must be a list of 2"),
        ("train.max_iter=99999999999999999999", r"train\.max_iter .* below 2147483648"),
        ("train.eval_period=99999999999999999999", r"train\.eval_period .* below 2147483648"),
        ("train.ema={}", r"'train\.ema=\{\}' sets nothing: name some of enabled, decay"),
        ("train={ema:{}}", r"'train\.ema=\{\}' sets nothing"),
        ("model={}", r"'model=\{\}' sets nothing"),
    ],
)
def test_what_no_run_could_use_is_refused_when_it_is_read(override, message):
    with pytest.raises(RecipeError, match=message):
        overridden(override)


def test_a_trusted_override_and_one_of_ours_build_what_they_name():
    name = f"{os.path.__name__}.join"
    assert overridden(f"train.microbatch_weights._target_={name}", trust=True).train.microbatch_weights._target_ == name
    ours = "focalnet_d2.engine.accumulation.EqualWeights"
    assert overridden(f"train.microbatch_weights._target_={ours}").train.microbatch_weights._target_ == ours
    assert list(overridden("optimizer.betas=[0.8,0.9]").optimizer.betas) == [0.8, 0.9]


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("train.ema", "decay", r"train\.ema lacks decay"),
        ("train", "max_iter", r"train lacks max_iter"),
        ("optimizer", "_target_", r"optimizer lacks _target_"),
    ],
)
def test_a_recipe_that_lacks_what_a_run_reads_is_incomplete(group, name, message):
    recipe = overridden()
    del OmegaConf.select(recipe, group)[name]
    with pytest.raises(RecipeError, match=message):
        check_complete(recipe)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_complete(name):
    check_complete(recipe_named(name))

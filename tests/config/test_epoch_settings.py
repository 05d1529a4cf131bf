"""Epochs and iterations: what is typed last counts, and both typed together are refused."""

import pytest
from omegaconf import DictConfig

from focalnet_d2.config.epoch_settings import UNITS, in_other_unit
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe

RECIPE = "dino_focalnet_mini_quickstart"


def settings(*overrides: str, **present) -> DictConfig:
    recipe = load_recipe(RECIPE)
    recipe.train.update(present)
    return apply_overrides(recipe, overrides).train


def test_each_setting_knows_the_one_in_the_other_unit():
    for epochs, (iterations, _) in UNITS.items():
        assert (in_other_unit(epochs), in_other_unit(iterations)) == (iterations, epochs)
    assert in_other_unit("train.seed") is None


@pytest.mark.parametrize("epochs", UNITS)
def test_iterations_that_are_typed_count_against_the_epochs_of_the_recipe(epochs):
    iterations = UNITS[epochs][0]
    name, other = epochs.removeprefix("train."), iterations.removeprefix("train.")
    train = settings(f"{iterations}=7", **{name: 2.5})
    assert (train[name], train[other]) == (0, 7)
    train = settings(f"{epochs}=3", **{other: 9})
    assert (train[name], train[other]) == (3, 9)
    assert settings("train.seed=1", **{name: 2.5})[name] == 2.5


@pytest.mark.parametrize("epochs", UNITS)
@pytest.mark.parametrize("is_group", [False, True])
def test_both_typed_together_are_refused(epochs, is_group):
    iterations, what = UNITS[epochs]
    both = [f"{iterations}=7", f"{epochs}=0.5"]
    if is_group:
        both = ["train={" + ",".join(one.removeprefix("train.").replace("=", ":") for one in both) + "}"]
    with pytest.raises(RecipeError) as error:
        settings(*both)
    assert str(error.value) == f"{epochs}=0.5 and {iterations}=7 both say {what}: leave one of them out."


def test_what_says_nothing_contradicts_nothing():
    assert settings("train.epochs=0", "train.max_iter=7").max_iter == 7
    train = settings("train.warmup=None", "train.warmup_epochs=2")
    assert (train.warmup, train.warmup_epochs) == (None, 2)


@pytest.mark.parametrize("override", ["train.epochs=-1", "train.epochs=nan", "train.epochs=all", "train.warmup=-1"])
def test_what_is_no_length_is_refused(override):
    with pytest.raises(RecipeError, match=override.partition("=")[0]):
        settings(override)

"""The planner finds the first way that fits, and its command says what to type."""

import pytest
from omegaconf import OmegaConf

from focalnet_d2.commands.plan import main
from focalnet_d2.config.lazy import RecipeError, load_recipe
from focalnet_d2.config.memory_size import memory_size
from focalnet_d2.planning import planner
from focalnet_d2.planning.planner import ways_to_fit
from focalnet_d2.planning.training_step import StepMemory

IMAGE, FIXED = 100, 30


@pytest.fixture
def recipe():
    recipe = load_recipe("mask2former_focalnet_mini_coco")
    recipe.dataloader.train.total_batch_size = 8
    recipe.train.amp = "off"
    return recipe


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """A step takes 100 bytes an image and 30 of weights; half of it with recomputing, a quarter with bf16, too."""
    steps = []

    def step(recipe, batch) -> StepMemory:
        recomputed = recipe.model.decoder.use_checkpoint
        steps.append(len(batch))
        image = IMAGE // (4 if recipe.train.amp == "bf16" else 2 if recomputed else 1)
        return StepMemory(FIXED - 10, 10, 0, FIXED + image * len(batch))

    monkeypatch.setattr(planner, "step_memory", step)
    monkeypatch.setattr(planner, "largest_batch", lambda recipe, images, objects, records: [{}] * images)
    return steps


def test_the_recipe_as_it_is_comes_first(recipe, counted):
    (way,) = ways_to_fit(recipe, FIXED + 8 * IMAGE)
    assert (way.settings, way.peak, way.fits) == (["train.accumulation=1"], 830, True)
    assert max(counted) == 8


def test_then_the_fewest_parts_that_fit(recipe, counted):
    as_it_is, way = ways_to_fit(recipe, FIXED + 5 * IMAGE)
    assert (as_it_is.fits, as_it_is.memory) == (False, None)
    assert (way.images, way.accumulation, way.overrides) == (4, 2, ())
    assert 8 not in counted  # which one image shows to be far too much


def test_then_recomputing_and_then_bf16(recipe):
    *others, way = ways_to_fit(recipe, FIXED + IMAGE // 2)
    assert way.settings[0] == "train.accumulation=8"
    assert "model.decoder.use_checkpoint=True" in way.settings
    assert [one.fits for one in others] == [False, False]
    *_, way = ways_to_fit(recipe, FIXED + IMAGE // 4)
    assert "train.amp=bf16" in way.overrides
    *_, way = ways_to_fit(recipe, FIXED)
    assert not way.fits


def test_a_model_that_takes_no_single_image_is_planned_from_two_on(recipe, counted, monkeypatch):
    step = planner.step_memory

    def in_pairs(recipe, batch):
        if len(batch) % 2:
            raise ValueError("They cannot be mixed in pairs.")
        return step(recipe, batch)

    monkeypatch.setattr(planner, "step_memory", in_pairs)
    *_, way = ways_to_fit(recipe, FIXED + 5 * IMAGE)
    assert (way.images, way.accumulation, way.overrides) == (4, 2, ())
    *others, way = ways_to_fit(recipe, FIXED + IMAGE, lower_precision=False)
    assert (way.images, way.accumulation, way.fits) == (2, 4, True)
    assert not any(one.fits for one in others)
    recipe.dataloader.train.total_batch_size = 1
    with pytest.raises(ValueError, match="in pairs"):
        list(ways_to_fit(recipe, FIXED + IMAGE))


def test_the_settings_can_be_typed(recipe):
    *_, way = ways_to_fit(recipe, FIXED + IMAGE // 4)
    for override in way.overrides:
        key, _, _ = override.partition("=")
        if key.endswith("use_checkpoint"):
            assert OmegaConf.select(recipe, key.rpartition(".")[0]) is not None, key


def test_the_batch_of_a_process_is_what_is_planned(recipe):
    (way,) = ways_to_fit(recipe, FIXED + 4 * IMAGE, processes=2)
    assert way.images == 4
    with pytest.raises(RecipeError, match="total_batch_size=8 cannot be divided among 3 processes"):
        list(ways_to_fit(recipe, 1000, processes=3))


def test_the_command_says_what_to_type(capsys):
    assert main(["mask2former_focalnet_mini_coco", "--memory", "1GB", "train.amp=off"]) == 0
    assert "Fits into 0.84 GiB with: train.accumulation=1" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "size"), [("24GB", 24e9), ("1.5 GiB", 1.5 * 2**30), ("800mb", 8e8)])
def test_sizes_of_memory(text, size):
    assert memory_size(text) == size


@pytest.mark.parametrize("text", ["24", "GB", "0GB", "-1GB", "1e3GB", "lots"])
def test_what_is_no_size_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        main(["mask2former_focalnet_mini_coco", f"--memory={text}"])
    assert "write it as 24GB" in capsys.readouterr().err

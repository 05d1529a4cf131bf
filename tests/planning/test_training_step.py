"""The memory of a step without values is what the same step allocates on real tensors."""

from functools import cache

import pytest
import torch
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels import cpu_matmul
from focalnet_d2.planning.assumptions import assumed_matches
from focalnet_d2.planning.example_batch import largest_batch
from focalnet_d2.planning.training_step import run_step, step_memory

# Boxes that the real step proposes and suppresses are fewer by some than the plan takes.
FAMILIES = {
    **dict.fromkeys(["dino_focalnet_mini_coco", "mask2former_focalnet_mini_coco", "atss_focalnet_mini_coco"], 0.0),
    **dict.fromkeys(["upernet_focalnet_mini_ade20k", "classifier_focalnet_mini_folder"], 0.0),
    **dict.fromkeys(["cascade_mask_rcnn_focalnet_mini_coco", "sparse_rcnn_focalnet_mini_coco"], 0.02),
}


def small(recipe_name: str, **settings: object):
    """A mini recipe in float32, with these settings of `train`."""
    recipe = load_recipe(recipe_name)
    recipe.train.amp = "off"
    for key, value in settings.items():
        OmegaConf.update(recipe, f"train.{key}", value)
    return recipe


def both(recipe) -> tuple:
    batch = largest_batch(recipe, 2 if recipe.train.accumulation > 1 or "upernet" in str(recipe.model) else 1, 6)
    for sample in batch:
        assert min(sample["image"].shape[-2:]) >= 96  # else nothing but weights is counted
    planned = step_memory(recipe, batch)
    with assumed_matches():
        return planned, run_step(recipe, batch)


@pytest.mark.parametrize(("name", "tolerance"), FAMILIES.items())
def test_a_plan_is_what_a_step_allocates(name, tolerance):
    planned, real = both(small(name))
    assert planned.peak == pytest.approx(real.peak, rel=tolerance, abs=0)
    assert (planned.weights, planned.optimizer, planned.gradients) == (real.weights, real.optimizer, real.gradients)


@pytest.mark.parametrize(("settings", "tolerance"), [
    ({"accumulation": 2}, 0), ({"ema.enabled": True}, 0), ({"amp": "bf16"}, 0.15),
])  # fmt: skip
def test_settings_of_the_training_are_in_it(settings, tolerance):
    planned, real = both(small("atss_focalnet_mini_coco", **settings))
    assert planned.peak == pytest.approx(real.peak, rel=tolerance, abs=0)
    assert planned.weights == real.weights


def test_what_is_frozen_has_no_gradient_and_no_state_of_the_optimizer():
    planned, real = both(small("classifier_focalnet_mini_folder", freeze=["backbone"]))
    learning, _ = both(small("classifier_focalnet_mini_folder"))
    assert planned == real
    assert planned.weights == learning.weights
    assert planned.gradients < 0.1 * learning.gradients
    assert planned.optimizer < 0.1 * learning.optimizer


def test_recomputing_needs_less_and_the_plan_knows_how_much():
    plain, switched = small("mask2former_focalnet_mini_coco"), small("mask2former_focalnet_mini_coco")
    for key in ("backbone", "pixel_decoder.encoder", "decoder"):
        OmegaConf.update(switched.model, f"{key}.use_checkpoint", True, force_add=True)
    batch = largest_batch(plain, 1, 6)
    planned = step_memory(switched, batch)
    assert planned.peak < 0.9 * step_memory(plain, batch).peak
    assert planned == run_step(switched, batch)


def test_a_plan_leaves_no_trace_and_draws_no_random_number(monkeypatch, tmp_path):
    probed = []
    monkeypatch.setattr(cpu_matmul, "choice", cache(cpu_matmul.choice.__wrapped__))
    monkeypatch.setattr(cpu_matmul, "_memory", lambda: tmp_path / "choice.json")
    monkeypatch.setattr(cpu_matmul, "_probe", lambda: probed.append(type(torch.zeros(1))) or (1.0, 0.0, 1.0, 0.0))
    recipe = small("dino_focalnet_mini_coco")
    batch = largest_batch(recipe, 1, 6)
    state = torch.get_rng_state()
    step_memory(recipe, batch)
    assert torch.equal(state, torch.get_rng_state())
    assert type(torch.zeros(1)) is torch.Tensor  # tensors after it have values again
    assert probed == [torch.Tensor]  # what is kept for later processes was not found out by tensors without values

"""Every shipped recipe: its form, its round trip through YAML, its model on the meta device."""

import ast
import re
from functools import cache

import pytest
import torch
from detectron2.config import instantiate
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import (
    RECIPE_NAMES,
    RecipeError,
    apply_overrides,
    list_recipes,
    load_recipe,
    recipe_folder,
    recipe_from_yaml,
    recipe_to_yaml,
)
from focalnet_d2.engine.optimizer import parameter_groups

RECIPES = list_recipes()
PUBLISHED_AP = {  # val2017, no test-time augmentation
    "dino_focalnet_huge": "64.0",
    "dino_focalnet_large_fl3_4scale_12ep_detrex": "57.5",
    "dino_focalnet_large_fl3_4scale_36ep_detrex": "58.3",
    "dino_focalnet_large_fl4_4scale_12ep_detrex": "58.0",
    "dino_focalnet_large_fl4_5scale_12ep_detrex": "58.5",
    "dino_focalnet_large_fl4_objects365_to_coco": "63.5",
}
WITHOUT_NUMBER = [
    "dino_focalnet_base_lrf_4scale_12ep_detrex",
    "dino_focalnet_huge_objects365",
    "dino_focalnet_large_fl3_4scale_12ep",
    "dino_focalnet_large_fl4_5scale_12ep",
    "dino_focalnet_large_fl4_5scale_36ep_detrex",
    "dino_focalnet_large_fl4_objects365",
    "dino_focalnet_small_lrf_4scale_12ep_detrex",
    "dino_focalnet_tiny_lrf_4scale_12ep_detrex",
]


def source_of(name: str) -> str:
    return (recipe_folder() / f"{name}.py").read_text(encoding="utf-8")


@cache
def meta_model(name: str):
    """The model of a recipe that has been through YAML."""
    with torch.device("meta"):
        return instantiate(recipe_from_yaml(recipe_to_yaml(load_recipe(name))).model)


def _with_names(value):
    """Callables by their full name, tuples as lists: what YAML can hold."""
    if isinstance(value, dict):
        return {key: _with_names(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_with_names(child) for child in value]
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else value


def test_every_dino_row_with_a_focalnet_has_a_recipe():
    assert {*PUBLISHED_AP, *WITHOUT_NUMBER} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_file_is_short_and_says_where_it_comes_from(name):
    source = source_of(name)
    doc = ast.get_docstring(ast.parse(source))
    assert source.count("\n") <= 30
    assert "Source: " in doc
    assert f"--config-file {name}" in doc
    assert name in PUBLISHED_AP or not re.search(r"\bAP \d", doc)


@pytest.mark.parametrize(("name", "ap"), PUBLISHED_AP.items())
def test_published_numbers_are_marked(name, ap):
    doc = ast.get_docstring(ast.parse(source_of(name)))
    assert f"AP {ap}" in doc
    assert "published" in doc


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_no_functions_and_exactly_the_five_names(name):
    tree = ast.parse(source_of(name))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef)]
    assert sorted(load_recipe(name)) == sorted(RECIPE_NAMES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_survives_yaml(name):
    recipe = load_recipe(name)
    text = recipe_to_yaml(recipe)
    again = recipe_from_yaml(text)
    assert recipe_to_yaml(again) == text
    resolved = OmegaConf.to_container(again, resolve=True)
    assert _with_names(OmegaConf.to_container(recipe, resolve=True)) == resolved
    assert resolved["dataloader"]["evaluator"]["dataset_name"] == resolved["dataloader"]["test"]["dataset"]["names"]
    assert resolved["train"]["output_dir"] == f"output/{name}"


@pytest.mark.parametrize("name", RECIPES)
def test_model_on_the_meta_device(name):
    model = meta_model(name)
    assert all(value.is_meta for value in model.parameters())
    backbone = model.backbone.bottom_up.output_shape()
    assert all(backbone[f].stride == 2 ** int(f[-1]) for f in backbone)
    strides = [shape.stride for shape in model.backbone.output_shape().values()]
    scales = int(found.group(1)) if (found := re.search(r"(\d)scale", name)) else 4 if "mini" in name else 5
    assert strides == [4, 8, 16, 32, 64][-scales:]
    assert model.num_classes == {"objects365": 365, "balloon": 1}.get(name.split("_")[-1], model.num_classes)


@pytest.mark.parametrize("name", RECIPES)
def test_optimizer_slows_the_backbone_only(name):
    recipe = load_recipe(name)
    model = meta_model(name)
    node = recipe.optimizer
    factor = instantiate(node.lr_factor)
    groups = parameter_groups(
        model, lr=node.lr, weight_decay=node.weight_decay, decay_rule=node.decay_rule, lr_factor=factor
    )
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    for key, parameter in model.named_parameters():
        expected = node.lr * (node.lr_factor.factor if key.startswith("backbone.bottom_up.") else 1)
        assert rate[id(parameter)] == pytest.approx(expected)


@pytest.mark.parametrize("name", RECIPES)
def test_learning_rate_lasts_until_the_end(name):
    recipe = load_recipe(name)
    multiplier = instantiate(recipe.lr_multiplier)
    factors = [multiplier(where / 1000) for where in range(1000)]
    assert factors[0] == 1.0
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize("name", RECIPES)
def test_unknown_setting_is_refused(name):
    with pytest.raises(RecipeError, match=r"train\.max_itr.*train\.max_iter"):
        apply_overrides(load_recipe(name), ["train.max_itr=10"])


def test_published_schedules():
    huge = load_recipe("dino_focalnet_huge")
    assert (huge.optimizer.lr, huge.optimizer.lr_factor.factor) == (6e-5, 0.1)
    assert huge.model.query_selection.num_queries == 900
    resize = huge.dataloader.test.mapper.augmentations[0]
    assert (resize.short_edge_length, resize.max_size) == (1200, 2000)
    long = load_recipe("dino_focalnet_large_fl3_4scale_36ep_detrex")
    multiplier = instantiate(long.lr_multiplier)
    assert multiplier(224_999 / long.train.max_iter) == 1.0
    assert multiplier(225_000 / long.train.max_iter) == 0.1


@pytest.mark.parametrize("name", [name for name in RECIPES if name.endswith("_detrex")])
def test_detrex_recipes_have_what_detrex_does_differently(name):
    recipe = load_recipe(name)
    model = recipe.model
    assert (model.position_embedding.temperature, model.position_embedding.offset) == (10000.0, -0.5)
    assert (model.shared_heads, model.mask_padding_in_eval, model.clip_boxes) == (False, False, True)
    assert recipe.optimizer.decay_rule == "d2"
    assert model.denoising.box_noise_scale == 1.0
    assert not model.backbone.bottom_up.get("normalize_modulator", False)

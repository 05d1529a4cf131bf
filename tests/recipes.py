"""Shipped recipes, loaded once, and what tests read out of them."""

from collections.abc import Iterator, Mapping
from functools import cache

import torch
from detectron2.config import instantiate
from omegaconf import DictConfig
from torch import nn

from focalnet_d2.config.lazy import list_recipes, load_recipe, recipe_folder, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.engine.optimizer import parameter_groups

RECIPES = list_recipes()


def source_of(name: str) -> str:
    return (recipe_folder() / f"{name}.py").read_text(encoding="utf-8")


@cache
def recipe_named(name: str) -> DictConfig:
    """A recipe to look at; whoever changes one loads it."""
    return load_recipe(name)


@cache
def meta_model(name: str) -> nn.Module:
    """The model of a recipe that has been through YAML, without values."""
    with torch.device("meta"):
        return instantiate(recipe_from_yaml(recipe_to_yaml(recipe_named(name))).model)


def evaluators(node: Mapping) -> list:
    """The evaluators of a recipe, which has one or a list."""
    return node.get("evaluators", [node])


def rates_and_decays(name: str) -> Iterator[tuple[str, float, float]]:
    """(name, learning rate, weight decay) of every parameter of a recipe."""
    node, model = recipe_named(name).optimizer, meta_model(name)
    groups = parameter_groups(
        model, lr=node.lr, weight_decay=node.weight_decay, decay_rule=node.decay_rule,
        lr_factor=None if node.lr_factor is None else instantiate(node.lr_factor),
    )  # fmt: skip
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    for key, parameter in model.named_parameters():
        yield key, group_of[id(parameter)]["lr"], group_of[id(parameter)]["weight_decay"]

"""What a recipe makes of images and objects: how many objects it can find, and how large images are in evaluation."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.nodes import children, containers, raw_value
from focalnet_d2.data.checks.tasks import RecipeLimits

from .object_counts import TARGETS, object_limits
from .recipe_filling import mapper_class, uses_of


def recipe_limits(recipe: DictConfig) -> RecipeLimits:
    """The limits of a recipe, each None where its parts do not say it."""
    queries = [number for key, number in object_limits(recipe) if key.endswith(TARGETS)]
    augmentations = OmegaConf.select(recipe, "dataloader.test.mapper.augmentations")
    short, long = (_number(augmentations, name) for name in ("short_edge_length", "max_size"))
    return RecipeLimits(min(queries, default=None), short, long, _needs_masks(recipe))


def _needs_masks(recipe: DictConfig) -> bool | None:
    """Whether the recipe learns masks from objects; None where it learns from none, or does not say it."""
    uses = [use for use in uses_of(mapper_class(recipe)) if use.kind == "instances"]
    return uses[0].needs_masks if uses else None


def _number(node: Any, name: str) -> int | None:
    """The first whole number of this name, wherever it stands."""
    values = (raw_value(child) for _, group in containers(node) for key, child in children(group) if key == name)
    return next((value for value in values if isinstance(value, int)), None)

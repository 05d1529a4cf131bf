"""What a recipe makes of images and objects: how many objects it can find, and how large images are in evaluation."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.nodes import containers
from focalnet_d2.data.checks.contract import RecipeLimits

_QUERIES = ("num_queries", "num_proposals")  # what the models call them


def recipe_limits(recipe: DictConfig) -> RecipeLimits:
    """The limits of a recipe, each None where its parts do not say it."""
    queries = list(_numbers(recipe.model, _QUERIES))
    augmentations = OmegaConf.select(recipe, "dataloader.test.mapper.augmentations")
    short, long = (next(_numbers(augmentations, (name,)), None) for name in ("short_edge_length", "max_size"))
    return RecipeLimits(min(queries, default=None), short, long)


def _numbers(node: Any, names: tuple[str, ...]) -> Iterator[int]:
    """Whole numbers under any of these names, wherever they stand."""
    for _, group in containers(node):
        if isinstance(group, DictConfig):
            found = (group.get(name) for name in names)
            yield from (value for value in found if isinstance(value, int))

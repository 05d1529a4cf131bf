"""Recipes as YAML text and back. Reading never builds or calls anything."""

from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from .nodes import full_name
from .old_recipes import modernize, refuse_both_names
from .recipe_files import RecipeError

RECIPE_NAMES = ("model", "dataloader", "optimizer", "lr_multiplier", "train")


def recipe_from_yaml(text: str, source: str = "The recipe") -> DictConfig:
    """A recipe from its YAML text (inverse of `recipe_to_yaml`); names of 0.1.0 become those of today.

    Raises:
        RecipeError: the text is no YAML mapping, or gives a setting by its old and by its new name.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{source} does not hold a recipe: it must be a YAML mapping with {RECIPE_NAMES}.")
    refuse_both_names(content, source)
    modernize(content)
    return OmegaConf.create(content, flags={"allow_objects": True})


def recipe_to_yaml(recipe: DictConfig) -> str:
    """A recipe as YAML text: callables by their full name, links between settings kept as links."""
    content = _name_callables(OmegaConf.to_container(recipe, resolve=False))
    return yaml.safe_dump(content, default_flow_style=None, width=110, allow_unicode=True, sort_keys=False)


def check_names(recipe: DictConfig, source: str) -> None:
    """Raise `RecipeError` unless the recipe has exactly the names of `RECIPE_NAMES`."""
    names = list(recipe) if isinstance(recipe, DictConfig) else []
    missing = [name for name in RECIPE_NAMES if name not in names]
    extra = [str(name) for name in names if name not in RECIPE_NAMES]
    if missing:
        raise RecipeError(f"Recipe {source} lacks {', '.join(missing)}: it needs {', '.join(RECIPE_NAMES)}.")
    if extra:
        raise RecipeError(
            f"Recipe {source} has the extra name {', '.join(extra)}: begin names that are not part of the recipe "
            f"with an underscore (import x as _x)."
        )


def _name_callables(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _name_callables(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_name_callables(child) for child in value]
    return full_name(value) if callable(value) else value

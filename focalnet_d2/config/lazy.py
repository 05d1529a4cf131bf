"""Loading of LazyConfig recipes and strict overrides: what users of recipes import.

Differs from Detectron2's `LazyConfig`: a recipe may be named without its folder, must hold exactly the five names of
`RECIPE_NAMES` and perhaps `data`, may import parts of the shipped recipes from wherever it lies, YAML is read without
running code, and an override of a setting that does not exist is an error.
"""

import ast
from pathlib import Path
from typing import cast

from detectron2.config import LazyConfig
from omegaconf import DictConfig

from .data_group import GROUP, add_data_group
from .old_recipes import modernize
from .overrides import apply_overrides
from .recipe_files import (
    SUFFIXES,
    RecipeError,
    default_folder,
    find_recipe,
    list_recipes,
    parse_recipe,
    read_recipe,
    recipe_folder,
)
from .recipe_trust import refuse_untrusted
from .recipe_yaml import RECIPE_NAMES, check_names, recipe_from_yaml, recipe_to_yaml
from .shipped_fragments import shipped_fragments

__all__ = [
    "RECIPE_NAMES",
    "SUFFIXES",
    "RecipeError",
    "apply_overrides",
    "check_names",
    "find_recipe",
    "list_recipes",
    "load_recipe",
    "recipe_folder",
    "recipe_from_yaml",
    "recipe_to_yaml",
]


def load_recipe(path_or_name: str | Path, *, trust: bool = False) -> DictConfig:
    """Load a recipe (`.py`, or the `.yaml` that a run wrote) and check its top-level names.

    Args:
        trust: a `.yaml` may build anything, as a Python recipe may; otherwise only parts of this project, of Detectron2
            and of torch (`recipe_trust.py`).

    Raises:
        RecipeError: no such recipe, its names are not exactly those of `RECIPE_NAMES`, or it builds what needs trust.
    """
    path = find_recipe(path_or_name)
    recipe = _load_python(path) if path.suffix == ".py" else recipe_from_yaml(read_recipe(path), f"Recipe {path}")
    check_names(recipe, str(path))
    if path.suffix != ".py" and not trust:
        refuse_untrusted(recipe, str(path))
    if GROUP in recipe:
        add_data_group(recipe)
    if isinstance(recipe.train, DictConfig) and recipe.train.get("output_dir") == "":
        recipe.train.output_dir = default_folder(path)
    return recipe


def _assigned(tree: ast.Module) -> list[ast.Assign]:
    return [node for node in tree.body if isinstance(node, ast.Assign)]


def _load_python(path: Path) -> DictConfig:
    tree = parse_recipe(path)  # Detectron2 would not say the line of a mistake, and leaves texts out
    if any(
        isinstance(node.value, ast.Constant) and GROUP in map(ast.unparse, node.targets) for node in _assigned(tree)
    ):
        raise RecipeError(f"Recipe {path} sets {GROUP} to a value: write {GROUP} = dict(root=...).")
    with shipped_fragments():
        recipe = cast(DictConfig, LazyConfig.load(str(path)))  # it is one without a list of names
    modernize(recipe)
    return recipe

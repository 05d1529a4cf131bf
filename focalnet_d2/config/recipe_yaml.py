"""Recipes as YAML text and back. Reading never builds or calls anything."""

import re
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from .data_group import GROUP
from .nodes import full_name
from .old_recipes import add_new_settings, modernize, refuse_both_names
from .recipe_files import RecipeError


class _RecipeLoader(yaml.SafeLoader):
    """YAML's safe types, numbers as 1e-4 included, which YAML 1.1 takes for text; no key twice, nothing in itself."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """The mapping of a node."""
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ConstructorError(None, None, f"the key '{twice}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node."""
        if self.check_event(yaml.AliasEvent) and isinstance(parent, yaml.CollectionNode):
            anchor = self.peek_event().anchor
            if anchor in self.anchors and self.anchors[anchor].end_mark is None:
                raise ComposerError(None, None, f"'{anchor}' holds itself", self.peek_event().start_mark)
        return super().compose_node(parent, index)


_RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), "-+0123456789"
)

RECIPE_NAMES = ("model", "dataloader", "optimizer", "lr_multiplier", "train")


def recipe_from_yaml(text: str, source: str = "The recipe") -> DictConfig:
    """A recipe from its YAML text (inverse of `recipe_to_yaml`); names of 0.1.0 become those of today.

    Raises:
        RecipeError: the text is no YAML mapping, or gives a setting by its old and by its new name.
    """
    try:
        content = yaml.load(text, _RecipeLoader)  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that no calendar has
        raise RecipeError(f"{source} is not readable as YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{source} does not hold a recipe: it must be a YAML mapping with {RECIPE_NAMES}.")
    refuse_both_names(content, source)
    modernize(content)
    add_new_settings(content)
    try:
        return OmegaConf.create(content, flags={"allow_objects": True})
    except OmegaConfBaseException as error:
        raise RecipeError(f"{source} does not hold a recipe: {str(error).splitlines()[0]}.") from error


def recipe_to_yaml(recipe: DictConfig) -> str:
    """A recipe as YAML text: callables by their full name, links between settings kept as links."""
    content = plain_recipe(recipe)
    return yaml.safe_dump(content, default_flow_style=None, width=110, allow_unicode=True, sort_keys=False)


def plain_recipe(recipe: DictConfig) -> dict[str, Any]:
    """A recipe as what its YAML text says: plain groups, lists and values."""
    return _name_callables(OmegaConf.to_container(recipe, resolve=False))


def check_names(recipe: DictConfig, source: str) -> None:
    """Raise `RecipeError` unless the recipe has exactly the names of `RECIPE_NAMES`, and perhaps `data`."""
    names = list(recipe) if isinstance(recipe, DictConfig) else []
    missing = [name for name in RECIPE_NAMES if name not in names]
    extra = [str(name) for name in names if name not in (*RECIPE_NAMES, GROUP)]
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

"""Strict `key=value` overrides of a recipe: a setting that does not exist is an error that names the nearest one."""

import difflib
import inspect
from collections.abc import Iterable, Iterator
from typing import Any

from detectron2.utils.registry import locate
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from .nodes import children
from .old_recipes import current_group, current_keys, modernize
from .recipe_files import RecipeError


def apply_overrides(recipe: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """Set `key=value` overrides in place (values in hydra's grammar) and return the recipe.

    A key must exist in the recipe or be an argument of the callable that its node builds. The tree is closed while the
    overrides are applied and open again afterwards. Keys and values of 0.1.0 become those of today.

    Raises:
        RecipeError: an override that cannot be read, an unknown key (the nearest existing key is named), a value for a
            whole group of settings, a setting by its old and its new name.
    """
    parsed = [_parse(override) for override in overrides]
    keys = current_keys(recipe, [override.key_or_group for override in parsed])
    OmegaConf.set_struct(recipe, True)
    try:
        for key, override in zip(keys, parsed):
            _apply(recipe, key, override)
    finally:
        OmegaConf.set_struct(recipe, None)
    modernize(recipe)
    return recipe


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"Cannot read the override '{text}': it must look like key=value ({reason}).") from error
    if override.is_delete() or override.is_add() or override.is_force_add() or override.package is not None:
        raise RecipeError(f"Override '{text}' is not of the form key=value: only existing settings can be set.")
    return override


def _apply(recipe: DictConfig, key: str, override: Override) -> None:
    value = current_group(recipe, key, override.value())
    parent_key, _, name = key.rpartition(".")
    parent = _select(recipe, parent_key) if parent_key else recipe
    if not _has(parent, name):
        if not _is_argument(parent, name):
            raise RecipeError(_unknown_key(recipe, str(override.input_line), key))
        with open_dict(parent):
            parent[name] = value
        return
    if OmegaConf.is_dict(_select(recipe, key)) and not isinstance(value, dict) and value is not None:
        names = ", ".join(str(child) for child in _select(recipe, key))
        raise RecipeError(f"'{key}' is a group of settings: set one of {key}.{{{names}}} instead of '{key}={value}'.")
    try:
        OmegaConf.update(recipe, key, value, merge=True)
    except OmegaConfBaseException as error:
        raise RecipeError(f"Cannot apply the override '{override.input_line}': {error.args[0]}") from error


def _select(recipe: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(recipe, key)
    except OmegaConfBaseException:
        return None


def _has(node: Any, name: str) -> bool:
    if isinstance(node, DictConfig):
        return name in node or OmegaConf.is_missing(node, name) or name in node.keys()  # noqa: SIM118  links count
    return isinstance(node, ListConfig) and name.isdigit() and int(name) < len(node)


def _is_argument(node: Any, name: str) -> bool:
    """Whether `name` is a keyword argument of the callable that `node` builds."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return False
    target = node["_target_"]
    target = locate(target) if isinstance(target, str) else target
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False
    return name in parameters and parameters[name].kind in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )


def _unknown_key(recipe: DictConfig, override: str, key: str) -> str:
    known = list(_all_keys(recipe))
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
    return f"Unknown key '{key}' in the override '{override}': the nearest existing key is '{near[0]}'."


def _all_keys(node: Any, prefix: str = "") -> Iterator[str]:
    for name, child in children(node):
        if name != "_target_":
            yield f"{prefix}{name}"
            yield from _all_keys(child, f"{prefix}{name}.")

"""Recipes and overrides with names of 0.1.0 (`moved.py`): each name becomes today's, with one warning."""

from typing import Any

from omegaconf import DictConfig, ListConfig

from .moved import ADDED, ARGUMENTS, SETTINGS, current_name, current_value, warn_once
from .nodes import children, containers, raw_value, target_name
from .recipe_files import RecipeError

Container = dict | list | DictConfig | ListConfig


def modernize(recipe: Container) -> None:
    """Give callables, settings and values of a recipe their names of today, in place.

    Where a group holds a setting by both names, the old one counts: in a Python recipe the new one comes with an
    imported fragment, and the old one is what its author has typed.
    """
    for path, container in containers(recipe):
        for name, child in list(children(container)):
            value = raw_value(child)
            if isinstance(value, str):
                _modernize_value(container, path, name, value)
        for old, new in _old_settings(path, container).items():
            warn_once(f"{path}{old}", f"{path}{new}")
            container[new] = dict(children(container))[old]
            del container[old]


def _modernize_value(container: Any, path: str, name: str | int, value: str) -> None:
    callable_name = current_name(value)
    if callable_name != value:
        warn_once(value, callable_name)
    new = current_value(f"{path}{name}", callable_name)
    if new != value:
        container[name] = new


def add_new_settings(recipe: dict[str, Any]) -> None:
    """Give a recipe that an earlier version wrote the settings that came later, in place."""
    for (group, beside), added in ADDED.items():
        settings = recipe.get(group)
        if isinstance(settings, dict) and beside in settings:
            recipe[group] = {**settings, **{name: value for name, value in added.items() if name not in settings}}


def refuse_both_names(recipe: Container, source: str) -> None:
    """Raise `RecipeError` where a group of the recipe holds a setting by its old and by its new name."""
    for path, container in containers(recipe):
        names = dict(children(container))
        for old, new in _old_settings(path, container).items():
            if new in names:
                raise RecipeError(_both(f"{source} sets", f"{path}{old}", f"{path}{new}"))


def current_keys(recipe: DictConfig, keys: list[str]) -> list[str]:
    """Keys of overrides by their names of today, each old one with a warning.

    Raises:
        RecipeError: a setting is given by its old and by its new name.
    """
    current = [_current_key(recipe, key) for key in keys]
    for old, new in zip(keys, current):
        if old != new and new in keys:
            raise RecipeError(_both("The overrides set", old, new))
        if old != new:
            warn_once(old, new)
    return current


def current_group(recipe: DictConfig, key: str, value: Any) -> Any:
    """The value of an override of a whole group, its settings by their names of today; other values as they are."""
    if not isinstance(value, dict):
        return value
    keys = current_keys(recipe, [f"{key}.{name}" for name in value])
    return {new.rpartition(".")[2]: current_group(recipe, new, child) for new, child in zip(keys, value.values())}


def _current_key(recipe: DictConfig, key: str) -> str:
    """`train.part_weights._target_` -> `train.microbatch_weights._target_`."""
    group, path = recipe, ""
    for name in key.split("."):
        new = renamed_settings(path, group).get(name, name)
        group = {str(child): node for child, node in children(group)}.get(new)
        path += f"{new}."
    return path.removesuffix(".")


def renamed_settings(path: str, group: Any) -> dict[str, str]:
    """Old and new names of the settings that the group at `path` ("train.") may hold."""
    target = target_name(group)
    return SETTINGS.get(path.removesuffix("."), {}) | (ARGUMENTS.get(current_name(target), {}) if target else {})


def _old_settings(path: str, container: Container) -> dict[str, str]:
    """Old and new names of the settings that the container holds by their old name."""
    names = dict(children(container))
    return {old: new for old, new in renamed_settings(path, container).items() if old in names}


def _both(who: str, old: str, new: str) -> str:
    return f"{who} '{old}' and '{new}', which are the old and the new name of one setting: give '{new}' alone."

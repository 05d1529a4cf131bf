"""Strict `key=value` overrides of a recipe.

A setting that does not exist is an error that names the nearest one, and a value of another type than the setting takes
is one that says what it takes.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from detectron2.utils.registry import locate
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from .class_names import FORMS, read_class_names
from .data_group import FOUND, add_data_group, is_of_data, with_full_key
from .epoch_settings import choose_units
from .moved import current_value
from .new_targets import built_names, check_targets
from .nodes import children
from .old_recipes import current_group, current_keys, modernize
from .recipe_check import check_recipe
from .recipe_files import RecipeError
from .setting_values import NONE, check, fit, fit_elements, read_value
from .settings import Setting, is_argument, setting_of

_KEY = re.compile(r"\w+(\.\w+)*")
_FOLDER = "train.output_dir"


def apply_overrides(recipe: DictConfig, overrides: Iterable[str], *, trust: bool = False) -> DictConfig:
    """Set `key=value` overrides in place and return the recipe, all of whose settings are then checked.

    A key must exist in the recipe, be an argument of the callable that its node builds, or be of the group `data`,
    which the recipe then gets (`data=DIR` is short for `data.root=DIR`; nothing looks at the folder here). The tree is
    closed while the overrides are applied and open again afterwards. Keys and values of 0.1.0 become those of today.
    Values follow hydra's grammar (`docs/training.md` has the rules), class names that of `class_names.py`; an empty
    `train.output_dir=` is the recipe's own folder.

    Args:
        trust: an override of `_target_` may name anything; otherwise only what YAML recipes may build.

    Raises:
        RecipeError: an override that cannot be read, an unknown key (the nearest existing key is named), a value that
            the setting does not take, a setting by its old and its new name or in two units, a `_target_` that needs
            trust.
    """
    typed = [_split(with_full_key(override)) for override in overrides]
    if any(is_of_data(key) for key, _ in typed):
        add_data_group(recipe)
    keys = current_keys(recipe, [key for key, _ in typed])
    folder, known = _select(recipe, _FOLDER), built_names(recipe)
    OmegaConf.set_struct(recipe, True)
    try:
        given = [one for key, (_, text) in zip(keys, typed) for one in _apply(recipe, key, text)]
    finally:
        OmegaConf.set_struct(recipe, None)
    modernize(recipe)
    choose_units(recipe, given)
    if folder and _select(recipe, _FOLDER) == "":
        recipe.train.output_dir = folder
    check_targets(recipe, known, trust=trust)
    check_recipe(recipe)
    return recipe


def _split(override: str) -> tuple[str, str]:
    """(key, text of the value)."""
    key, equals, text = override.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise RecipeError(f"Cannot read the override '{override}': it must look like key=value, as in train.seed=1.")
    return key, text


def _apply(recipe: DictConfig, key: str, text: str) -> list[str]:
    """Set the value of this text; returns the keys of the settings that it sets."""
    parent, name = _place(recipe, key)
    present = _select(recipe, key)
    setting = setting_of(key, parent, name, present)
    typed = read_class_names(key, text) if key in FORMS else read_value(key, text, setting)
    value = current_group(recipe, key, typed)
    is_group = OmegaConf.is_dict(present) and key not in FORMS
    if is_group and not isinstance(value, dict) and text not in NONE and "${" not in text:
        names = ", ".join(str(child) for child in present)
        raise RecipeError(f"'{key}' is a group of settings: set one of {key}.{{{names}}} instead of '{key}={text}'.")
    return _set(recipe, key, value, text)


def _set(recipe: DictConfig, key: str, value: Any, text: str) -> list[str]:
    """Set a value that was read from this text; a group of values changes only the settings that it names."""
    parent, name = _place(recipe, key)
    present = _select(recipe, key)
    if isinstance(value, dict) and OmegaConf.is_dict(present) and key not in (*FORMS, FOUND):
        if present and not value:
            names = ", ".join(map(str, present))
            raise RecipeError(f"'{key}={text}' sets nothing: name some of {names}, as in '{key}={{name:value}}'.")
        return [one for child, inner in value.items() for one in _set(recipe, f"{key}.{child}", inner, str(inner))]
    setting = setting_of(key, parent, name, present)
    value = _checked(key, fit(value, text, setting), setting, present)
    try:
        with open_dict(parent):
            parent[int(name) if isinstance(parent, ListConfig) else name] = value
        if isinstance(value, str) and "${" in value:
            OmegaConf.select(recipe, key, throw_on_resolution_failure=True)
    except OmegaConfBaseException as error:
        raise RecipeError(f"Cannot set {key} to '{value}': {str(error).splitlines()[0]}.") from error
    return [key]


def _checked(key: str, value: Any, setting: Setting | None, present: Any) -> Any:
    """The value by its name of today, once it is known to be one; a link is checked when all overrides stand."""
    if isinstance(value, str):
        value = current_value(key, value)
        if "${" in value:
            return value
    check(key, value, setting)
    return fit_elements(value, present, key) if isinstance(value, list) else value


def _place(recipe: DictConfig, key: str) -> tuple[Any, str]:
    """The group or list that holds the setting `key`, or may hold it, and the name there."""
    parent_key, _, name = key.rpartition(".")
    parent = _select(recipe, parent_key) if parent_key else recipe
    if not _has(parent, name) and not _is_argument(parent, name):
        raise RecipeError(_unknown_key(recipe, key))
    return parent, name


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
    return is_argument(locate(target) if isinstance(target, str) else target, name)


def _unknown_key(recipe: DictConfig, key: str) -> str:
    keys = list(_all_keys(recipe))
    called_so = [known for known in keys if known.rpartition(".")[2] == key.rpartition(".")[2]]
    near = difflib.get_close_matches(key, called_so or keys, n=1, cutoff=0.0)
    return f"Unknown key '{key}' in the overrides: the nearest existing key is '{near[0]}'."


def _all_keys(node: Any, prefix: str = "") -> Iterator[str]:
    for name, child in children(node):
        if name != "_target_":
            yield f"{prefix}{name}"
            yield from _all_keys(child, f"{prefix}{name}.")

"""The settings of a whole recipe, whoever gave them, before anything is built."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .data_group import check_data_group
from .memory_size import check_batch
from .nodes import children, containers, target_name
from .recipe_files import RecipeError
from .setting_values import check
from .settings import BUILT, OPTIONAL, SETTINGS, Setting, arguments, known_target

_OUR_PACKAGES = ("focalnet_d2", "dino", "mask2former")


def check_recipe(recipe: DictConfig) -> None:
    """Check `SETTINGS`, and every argument of a callable of ours by its annotation, as far as the recipe has them.

    Raises:
        RecipeError: a value that its setting does not take, or a link that leads nowhere.
    """
    for key, setting in (*SETTINGS.items(), *_annotated_settings(recipe)):
        parent_key, _, name = key.rpartition(".")
        parent = OmegaConf.select(recipe, parent_key) if parent_key else recipe
        if isinstance(parent, DictConfig) and name in dict(children(parent)):
            check(key, _value(parent, name, key), setting)
    check_data_group(recipe)
    check_batch(recipe)


def check_complete(recipe: DictConfig) -> None:
    """Raise `RecipeError` where a group lacks what every run reads."""
    for group in ("train", "train.ema", "train.test_time_augmentation"):
        _require(recipe, group, [key for key in SETTINGS if key.rpartition(".")[0] == group and key not in OPTIONAL])
    for group in BUILT:
        _require(recipe, group, [f"{group}._target_"])


def _require(recipe: DictConfig, group: str, keys: list[str]) -> None:
    node = OmegaConf.select(recipe, group)
    missing = [key for key in keys if isinstance(node, DictConfig) and key.rpartition(".")[2] not in node]
    if missing:
        raise RecipeError(f"{group} lacks {', '.join(key.rpartition('.')[2] for key in missing)}: add {missing[0]}.")


def _value(parent: DictConfig, name: str, key: str) -> Any:
    try:
        return parent[name]
    except OmegaConfBaseException as error:
        raise RecipeError(f"{key} has no value: {str(error).splitlines()[0]}.") from error


def _annotated_settings(recipe: DictConfig) -> Iterator[tuple[str, Setting]]:
    """("optimizer.decay_rule", what it takes) of arguments of ours that are values, not groups."""
    for path, node in containers(recipe):
        ours = (target_name(node) or "").partition(".")[0] in _OUR_PACKAGES
        settings = arguments(known_target(node)) if ours else {}
        for name, child in children(node):
            key = f"{path}{name}"
            if name in settings and key not in SETTINGS and not isinstance(child, DictConfig):
                yield key, settings[name]

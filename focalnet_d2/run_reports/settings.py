"""In which settings runs differ: from the recipe as it is shipped, and from each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.data_group import DEFAULTS, FOUND, GROUP
from focalnet_d2.config.lazy import load_recipe, recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.recipe_files import RecipeError, find_recipe, recipe_folder

from .run_files import RunFiles

_PLACES = ("train.output_dir",)  # where a run lies says nothing about it
MISSING = "–"


class Difference(NamedTuple):
    """A setting, its values as texts in the order of what is compared, and whether it was typed on the command line."""

    key: str
    values: tuple[str, ...]
    typed: bool = False


def differences_from_shipped(run: RunFiles) -> tuple[list[Difference], str]:
    """Shipped and own values of the settings of a run that differ, the typed ones first, and what they are compared to.

    A recipe that is not shipped is a program, which is not run for a report: then the typed settings stand alone.
    """
    typed = _typed(run)
    if run.recipe is None:
        return [Difference(key, (MISSING, value), True) for key, value in typed.items()], "recipe.yaml is not there"
    own, shipped = flat(run.recipe), _shipped(run)
    if shipped is None:
        rows = [Difference(key, (MISSING, own.get(key, value)), True) for key, value in typed.items()]
        return rows, "the recipe is none of the shipped ones"
    found = _differing([shipped, own])
    return sorted((one._replace(typed=_is_typed(one.key, typed)) for one in found), key=lambda one: not one.typed), (
        f"compared with {run.identity.recipe if run.identity else ''} as it is shipped"
    )


def differences_between(runs: Sequence[RunFiles]) -> list[Difference]:
    """The settings in which runs differ, with the value of each."""
    recipes = {run.name: run.identity.recipe if run.identity else MISSING for run in runs}
    rows = [Difference("recipe", tuple(recipes.values()))] if len(set(recipes.values())) > 1 else []
    return [*rows, *_differing([{} if run.recipe is None else flat(run.recipe) for run in runs])]


def flat(recipe: DictConfig) -> dict[str, str]:
    """The settings of a recipe by their full names, as texts; links stay links."""
    plain: Any = OmegaConf.to_container(recipe, resolve=False)
    found = {key: value for key, value in _leaves(plain, "") if key not in _PLACES and not key.startswith(FOUND)}
    return {key: _shown(value) for key, value in found.items()}


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for name, child in node.items():
            yield from _leaves(child, f"{path}.{name}" if path else str(name))
    elif isinstance(node, list) and any(isinstance(child, Mapping) for child in node):
        for place, child in enumerate(node):
            yield from _leaves(child, f"{path}.{place}")
    else:
        yield path, node


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return "null" if value is None else str(value)


def _differing(settings: Sequence[Mapping[str, str]]) -> list[Difference]:
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [Difference(key, tuple(one.get(key, MISSING) for one in settings)) for key in keys]
    return [row for row in rows if len(set(row.values)) > 1 and not _is_default_of_data(row)]


def _is_default_of_data(row: Difference) -> bool:
    """Whether a setting of the group `data` has its default where it stands, and does not stand elsewhere."""
    group, _, name = row.key.partition(".")
    given = {value for value in row.values if value != MISSING}
    return group == GROUP and (name == "found" or given == {_shown(DEFAULTS.get(name))})


def _typed(run: RunFiles) -> dict[str, str]:
    pairs = (text.partition("=") for text in (run.identity.overrides if run.identity else ()))
    return {key: value for key, _, value in pairs if key not in _PLACES}


def _is_typed(key: str, typed: Mapping[str, str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in typed)


def _shipped(run: RunFiles) -> dict[str, str] | None:
    """The settings of the recipe of a run as it is shipped; None where it is not."""
    if run.identity is None:
        return None
    try:
        file = find_recipe(run.identity.recipe)
        if file.parent != recipe_folder().resolve():
            return None
        return flat(recipe_from_yaml(recipe_to_yaml(load_recipe(file))))
    except RecipeError:
        return None

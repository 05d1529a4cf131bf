"""Loading of LazyConfig recipes and strict overrides.

Differs from Detectron2's `LazyConfig`: a recipe may be named without its folder, must hold exactly the five names of
`RECIPE_NAMES`, YAML is read without running code, and an override of a setting that does not exist is an error.
"""

import difflib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import LazyConfig
from detectron2.utils.registry import locate
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

import focalnet_d2

RECIPE_NAMES = ("model", "dataloader", "optimizer", "lr_multiplier", "train")
SUFFIXES = (".py", ".yaml", ".yml")


class RecipeError(ValueError):
    """A recipe or an override that cannot be used; the message is one sentence for the person who typed it."""


def recipe_folder() -> Path:
    """The folder of the shipped recipes: `configs/` of a checkout, else the one installed inside the package."""
    package = Path(focalnet_d2.__file__).resolve().parent
    checkout = package.parent / "configs"
    return checkout if (checkout / "common" / "train.py").is_file() else package / "configs"


def list_recipes() -> list[str]:
    """Names of the shipped recipes, sorted."""
    return sorted(path.stem for path in recipe_folder().glob("*.py") if path.stem != "__init__")


def find_recipe(path_or_name: str | Path) -> Path:
    """The file of a recipe given by its path, or by the bare name of a shipped one (`dino_focalnet_huge`).

    Raises:
        RecipeError: there is no such file; the message lists the nearest names.
    """
    path = Path(path_or_name).expanduser()
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise RecipeError(f"'{path}' is not a recipe: the name of its file must end in .py or .yaml.")
        return path.resolve()
    named = recipe_folder() / f"{path.stem if path.suffix == '.py' else path.name}.py"
    if path.name == str(path_or_name) and named.is_file():
        return named
    near = difflib.get_close_matches(path.stem, list_recipes(), n=3, cutoff=0.4)
    hint = f"the nearest shipped recipes are {', '.join(near)}" if near else f"see {recipe_folder()}"
    raise RecipeError(f"There is no recipe '{path_or_name}': neither a file nor a shipped recipe; {hint}.")


def load_recipe(path_or_name: str | Path) -> DictConfig:
    """Load a recipe (`.py`, or the `.yaml` that a run wrote) and check its top-level names.

    Raises:
        RecipeError: no such recipe, or its names are not exactly those of `RECIPE_NAMES`.
    """
    path = find_recipe(path_or_name)
    if path.suffix == ".py":
        recipe = LazyConfig.load(str(path))
        if "train" in recipe and recipe.train.get("output_dir") == "":
            recipe.train.output_dir = f"output/{path.stem}"  # each recipe its own folder
    else:
        recipe = recipe_from_yaml(path.read_text(encoding="utf-8"), source=str(path))
    check_names(recipe, str(path))
    return recipe


def recipe_from_yaml(text: str, source: str = "the recipe") -> DictConfig:
    """A recipe from its YAML text (inverse of `recipe_to_yaml`); never builds or calls anything."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{source} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{source} does not hold a recipe: it must be a YAML mapping with {RECIPE_NAMES}.")
    return OmegaConf.create(content, flags={"allow_objects": True})


def recipe_to_yaml(recipe: DictConfig) -> str:
    """A recipe as YAML text: callables by their full name, links between settings kept as links."""
    return yaml.safe_dump(_plain(recipe), default_flow_style=None, width=110, allow_unicode=True, sort_keys=False)


def check_names(recipe: DictConfig, source: str) -> None:
    """Raise `RecipeError` unless the recipe has exactly the names of `RECIPE_NAMES`."""
    names = list(recipe) if isinstance(recipe, DictConfig) else []
    missing = [name for name in RECIPE_NAMES if name not in names]
    extra = [name for name in names if name not in RECIPE_NAMES]
    if missing:
        raise RecipeError(f"Recipe {source} lacks {', '.join(missing)}: it needs {', '.join(RECIPE_NAMES)}.")
    if extra:
        raise RecipeError(
            f"Recipe {source} has the extra name {', '.join(extra)}: begin names that are not part of the recipe "
            f"with an underscore (import x as _x)."
        )


def apply_overrides(recipe: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """Set `key=value` overrides in place (values in hydra's grammar) and return the recipe.

    A key must exist in the recipe or be an argument of the callable that its node builds. The tree is closed while the
    overrides are applied and open again afterwards.

    Raises:
        RecipeError: an override that cannot be read, an unknown key (the nearest existing key is named), a value for a
            whole group of settings.
    """
    parsed = [_parse(override) for override in overrides]
    OmegaConf.set_struct(recipe, True)
    try:
        for override in parsed:
            _apply(recipe, override)
    finally:
        OmegaConf.set_struct(recipe, None)
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


def _apply(recipe: DictConfig, override: Override) -> None:
    key, value = override.key_or_group, override.value()
    parent_key, _, name = key.rpartition(".")
    parent = _select(recipe, parent_key) if parent_key else recipe
    if not _has(parent, name):
        if not _is_argument(parent, name):
            raise RecipeError(_unknown_key(recipe, override.input_line, key))
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
    names = list(node.keys()) if isinstance(node, DictConfig) else range(len(node))
    for name in names:
        if name == "_target_":
            continue
        yield f"{prefix}{name}"
        child = node._get_node(name)
        if isinstance(child, DictConfig | ListConfig) and not child._is_none() and not child._is_interpolation():
            yield from _all_keys(child, f"{prefix}{name}.")


def _plain(recipe: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(recipe, resolve=False)
    return _name_callables(content)


def _name_callables(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _name_callables(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_name_callables(child) for child in value]
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return value

"""From `data=DIR` to a recipe for the data set in that folder.

The settings of the group `data` are applied first, the folder is looked at, the recipe is filled in from what was
found, and all other settings come on top. What was found stays in the recipe (`data.found`), so that it is looked for
once: whoever reads the recipe of a run registers the same data set.
"""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.data_group import CHANGES, CHANNELS, DEFAULTS, FOUND, GROUP, is_of_data
from focalnet_d2.config.lazy import RecipeError, apply_overrides, find_recipe, load_recipe, recipe_from_yaml
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.datasets.folders import register_dataset
from focalnet_d2.data.folders.dataset import PARTS, FolderDataset, Split
from focalnet_d2.data.folders.finding import FoundDatasets, choose_dataset, find_datasets
from focalnet_d2.data.folders.image_lists import write_lists
from focalnet_d2.data.folders.layouts import LAYOUTS
from focalnet_d2.data.record_choice import file_names
from focalnet_d2.utils.atomic_write import write_atomically

from .channel_filling import find_channels, set_channels
from .distributed import on_main_process
from .object_counts import lower_results
from .recipe_advice import no_use
from .recipe_filling import Use, fill_recipe, mapper_class, score_part, takes, uses_of

Settings = dict[str, Any]

logger = logging.getLogger(__name__)


def source_of(recipe: str | Path, *, trust: bool = False) -> DictConfig:
    """A recipe without overrides, as `load_recipe` gives it; that of a run with the lists of images beside it.

    Raises:
        RecipeError: there is no such recipe, or it needs trust.
    """
    loaded = load_recipe(recipe, trust=trust)
    use_lists_beside(loaded, find_recipe(recipe).parent)
    return loaded


def read_recipe(recipe: str | Path, overrides: Iterable[str] = (), *, trust: bool = False) -> DictConfig:
    """A recipe to predict or to evaluate with, and its overrides; the data set of its group `data` is registered.

    Raises:
        RecipeError, FileNotFoundError, ValueError: as `source_of` and `apply_settings`.
    """
    return apply_settings(source_of(recipe, trust=trust), overrides, trust=trust, evaluate_only=True)


def apply_settings(
    recipe: DictConfig,
    overrides: Iterable[str],
    *,
    trust: bool = False,
    evaluate_only: bool = False,
    earlier: Settings | None = None,
) -> DictConfig:
    """Set overrides in place, as `apply_overrides` does, with the data set of a folder where `data` names one.

    All ranks of a run have to call it together.

    Args:
        evaluate_only: score the part that `data.test` names, and do without training data.
        earlier: the group `data` of a run that goes on, in place of the recipe's.

    Raises:
        RecipeError, FileNotFoundError, ValueError: an override or a folder that cannot be used.
    """
    overrides = list(overrides)
    if earlier is not None:
        recipe[GROUP] = earlier
    known = data_settings(recipe)
    apply_overrides(recipe, filter(is_of_data, overrides), trust=trust)
    if GROUP in recipe:
        _apply_data(recipe, known, is_filled=earlier is None, evaluate_only=evaluate_only)
    apply_overrides(recipe, [one for one in overrides if not is_of_data(one)], trust=trust)
    if GROUP in recipe and recipe[GROUP].root:
        lower_results(recipe, {one.partition("=")[0] for one in overrides})
    return recipe


def data_settings(recipe: DictConfig) -> Settings | None:
    """The group `data` as plain values; None where a recipe has none."""
    return OmegaConf.to_container(recipe[GROUP], resolve=False) if GROUP in recipe else None  # type: ignore[return-value]


def read_settings(file: Path) -> Settings | None:
    """The group `data` of the `recipe.yaml` of a run, its lists of images those beside it; None where it has none.

    Raises:
        RecipeError: the file is no recipe.
    """
    if not file.is_file():
        return None
    recipe = recipe_from_yaml(file.read_text(encoding="utf-8"), str(file))
    use_lists_beside(recipe, file.parent)
    return data_settings(recipe)


def use_lists_beside(recipe: DictConfig, folder: Path) -> None:
    """Take the lists of images that lie in a folder in place of those of the same names elsewhere: a run that moved."""
    parts = OmegaConf.select(recipe, f"{FOUND}.parts") or {}
    for part in parts.values():
        if part.image_list and (beside := folder / Path(part.image_list).name).is_file():
            part.image_list = str(beside.absolute())


def found_dataset(recipe: DictConfig) -> FolderDataset | None:
    """The data set that a recipe keeps; None where it keeps none."""
    settings = data_settings(recipe)
    return FolderDataset.from_plain(settings["found"]) if settings and settings["found"] else None


def class_changes(recipe: DictConfig) -> ClassChanges:
    """What a recipe's group `data` says about classes renamed, merged and dropped; nothing without the group."""
    settings = data_settings(recipe)
    return ClassChanges(**{name: settings[name] for name in CHANGES}) if settings else ClassChanges()


def write_split(recipe: DictConfig, folder: Path) -> None:
    """Write the lists of images of all parts into the folder of a run and note them in the recipe.

    Lists of an earlier run are copied, which then may be removed; nothing is written where there are none.
    """
    dataset = found_dataset(recipe)
    if dataset is None:
        return
    recipe[GROUP].found = write_lists(dataset, folder).to_plain()
    for part in recipe[GROUP].found.parts.values():
        own = folder.absolute() / Path(part.image_list).name
        if part.image_list and part.image_list != str(own):
            write_atomically(own, Path(part.image_list).read_text(encoding="utf-8"))
            part.image_list = str(own)


def _apply_data(recipe: DictConfig, known: Settings | None, *, is_filled: bool, evaluate_only: bool) -> None:
    """Find, register and fill in.

    Args:
        known: the group before the overrides, None where there was none.
        is_filled: the recipe has been filled in by that group.
    """
    settings = _absolute(data_settings(recipe) or {})
    if not settings["root"]:
        if set_names := [name for name, value in settings.items() if value != DEFAULTS[name]]:
            raise RecipeError(f"data.{set_names[0]} is about a folder of data: name it, too, as in data=DIR.")
        return
    settings["found"] = _known(settings, known) or _look(recipe, settings)
    recipe[GROUP] = settings
    dataset, changes = FolderDataset.from_plain(settings["found"]), class_changes(recipe)
    classes, names = changes.changed(dataset.classes), register_dataset(dataset, changes)
    if "train" not in names and not evaluate_only:
        raise RecipeError(
            f"{dataset.root} has no training part, only {', '.join(names)}: name one by data.train=PART, or add "
            "--eval-only."
        )
    if settings.get("channels") is not None:
        settings["found_channels"] = _known_channels(settings, known) or _look_at_channels(settings, names)
        recipe[GROUP] = settings
    if settings != known or not is_filled:
        fill_recipe(recipe, _use(recipe, dataset), classes, names)
        if settings.get("channels") is not None:
            set_channels(recipe, settings["found_channels"])
    if evaluate_only and settings["test"]:
        score_part(recipe, names["test"])


def _absolute(settings: Settings) -> Settings:
    root = settings["root"]
    return {**settings, "root": str(Path(os.path.expanduser(root)).absolute()) if root else ""}


def _known(settings: Settings, known: Settings | None) -> dict[str, Any] | None:
    """What was found before with the same settings, unless `data.found=null`; the class list may have been changed."""
    return settings["found"] if known and _search(_absolute(known)) == _search(settings) else None


def _search(settings: Settings) -> Settings:
    """The settings that say what is looked for."""
    return {name: value for name, value in settings.items() if name not in (*CHANGES, *CHANNELS, "found")}


def _known_channels(settings: Settings, known: Settings | None) -> dict[str, Any] | None:
    """What was found before in the same images with the same settings, unless `data.found_channels=null`."""
    is_same = known and all(known.get(name) == settings[name] for name in CHANNELS) and _known(settings, known)
    return settings["found_channels"] if is_same else None


def _look_at_channels(settings: Settings, names: dict[str, str]) -> dict[str, Any]:
    """What the training images hold, as the main process sees it."""
    if "train" not in names:
        raise RecipeError("data.channels needs training images, whose values are looked at: name a part by data.train.")
    return on_main_process(lambda: find_channels(settings, file_names(DatasetCatalog.get(names["train"]))))


def _look(recipe: DictConfig, settings: Settings) -> dict[str, Any]:
    """What the folder holds for this recipe, as the main process sees it."""
    return on_main_process(lambda: find_for(recipe, settings).to_plain())


def find_for(recipe: DictConfig, settings: Settings) -> FolderDataset:
    """The data set that a recipe takes from a folder.

    Raises:
        RecipeError: the folder holds nothing that the recipe can learn from.
        ValueError: it holds several such data sets, or one that cannot be read.
    """
    found = find_datasets(
        settings["root"],
        layout=settings["layout"],
        wanted={part: settings[part] for part in PARTS if settings[part]},
        split=Split(settings["val_share"], settings["split_seed"], settings["split_groups"]),
    )
    mapper = mapper_class(recipe)
    uses = uses_of(mapper)
    usable = FoundDatasets([one for one in found if any(takes(use, one) for use in uses)], found.failures)
    kinds = [use.kind for use in uses]
    if not usable:
        broken = (error for name, error in found.failures.items() if LAYOUTS[name].kind in kinds)
        raise next(broken, None) or RecipeError(no_use(mapper, uses, found))
    return choose_dataset(usable, kinds)


def _use(recipe: DictConfig, dataset: FolderDataset) -> Use:
    return next(use for use in uses_of(mapper_class(recipe)) if use.kind == dataset.kind)

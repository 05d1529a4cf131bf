"""The group `data` of a recipe: a folder of one's own data and what is to be made of it. Recipes without it lack it."""

import copy
import difflib
import math
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .recipe_files import RecipeError

GROUP, ROOT, FOUND = "data", "data.root", "data.found"
DEFAULTS: dict[str, Any] = {
    "root": "",  # the folder; "" = the data sets that the recipe names
    "layout": "auto",  # how files lie and are written, where several readings fit
    "train": "",  # part -> sub-folder or annotation file; "" = it is looked for
    "val": "",
    "test": "",
    "val_share": 0.2,  # of the training images that become validation images where the folder has none
    "split_seed": 0,
    "split_groups": "",  # regular expression: images with the same match stay in one part; "" = each alone
    "rename": {},  # new name of a class by its name in the files
    "merge": {},  # names of the files that become one class, by the name of that class
    "drop": [],  # names of the files whose objects are left out
    "channels": None,  # of images that are not 8-bit RGB: their number, or the numbers of those that are used, from 0
    "rgb": [],  # the numbers of red, green and blue among them; [] = unknown
    "mean": [],  # of each of them, in the files' units; [] = counted over the training images
    "std": [],
    "found_channels": None,  # what a run found in the images; they are not looked at again
    "found": None,  # what a run found in the folder; it is not looked at again
}
CHANGES = ("rename", "merge", "drop")  # of the class list; the others say what is looked for
CHANNELS = ("channels", "rgb", "mean", "std", "found_channels")  # of the images, whatever is looked for


def is_of_data(override: str) -> bool:
    """Whether an override (`key=value`) is one of the group."""
    return override.partition("=")[0].partition(".")[0] == GROUP


def with_full_key(override: str) -> str:
    """`data.root=DIR` for the short form `data=DIR`; any other override as it is."""
    key, equals, text = override.partition("=")
    return f"{ROOT}{equals}{text}" if key == GROUP and not text.startswith("{") else override


def add_data_group(recipe: DictConfig) -> None:
    """Give a recipe the settings of the group that it lacks, in place.

    Raises:
        RecipeError: its group has other settings, or is none.
    """
    given = recipe.get(GROUP, {})
    if not isinstance(given, DictConfig | dict):
        raise RecipeError(f"The recipe's {GROUP} is {given!r}: write {GROUP} = dict(root=...).")
    if unknown := [str(name) for name in given if name not in DEFAULTS]:
        near = difflib.get_close_matches(unknown[0], DEFAULTS, n=1, cutoff=0.0)[0]
        raise RecipeError(f"Unknown key '{GROUP}.{unknown[0]}': the nearest existing key is '{GROUP}.{near}'.")
    group = OmegaConf.create(copy.deepcopy(DEFAULTS))
    for name, value in given.items():
        group[name] = value
    recipe[GROUP] = group


def check_data_group(recipe: DictConfig) -> None:
    """Raise `RecipeError` unless names of classes stand where they belong."""
    if GROUP not in recipe:
        return
    content: Any = OmegaConf.to_container(recipe[GROUP], resolve=False)
    rename, merge, drop = (content.get(name) or {} for name in CHANGES)
    _check("rename", "{old:new}", [*rename, *rename.values()])
    lists = [names if isinstance(names, list) else [None] for names in merge.values()]
    _check("merge", "{new:[old,old]}", [*merge, *(name for names in lists for name in names)])
    _check("drop", "[name,name]", drop)
    _check_channels(content)


def _check(key: str, form: str, names: Iterable[Any]) -> None:
    if not all(isinstance(name, str) for name in names):
        raise RecipeError(f"{GROUP}.{key} takes names of classes: write it as {GROUP}.{key}={form}.")


def channel_numbers(channels: Any, name: str = f"{GROUP}.channels") -> list[int]:
    """The numbers of the channels that a setting says: those that it lists, or as many as it says, from 0.

    Args:
        name: of the setting, for the message.

    Raises:
        RecipeError: it says something else.
    """
    numbers = list(range(channels)) if isinstance(channels, int) else channels
    if not numbers or not isinstance(numbers, list):
        raise RecipeError(f"{name} is {channels}: it must be a number of channels, or a list such as [3,2,1].")
    _check_listed(name, numbers)
    return numbers


def _check_listed(name: str, numbers: list[Any]) -> None:
    if not all(isinstance(one, int) and one >= 0 for one in numbers) or len(set(numbers)) < len(numbers):
        raise RecipeError(f"{name} is {numbers}: it must list numbers of channels, each once, the first being 0.")


def _check_channels(content: dict[str, Any]) -> None:
    """Whether the settings of channels fit each other; the images are not looked at."""
    channels = content.get("channels")
    for key in ("rgb", "mean", "std"):
        if not isinstance(given := content.get(key) or [], list):
            raise RecipeError(f"{GROUP}.{key} is {given}: write it as a list, such as {GROUP}.{key}=[1,2,3].")
    numbers = [] if channels is None else channel_numbers(channels)
    _check_listed(f"{GROUP}.rgb", content.get("rgb") or [])
    for key in ("rgb", "mean", "std"):
        if content.get(key) and channels is None:
            raise RecipeError(f"{GROUP}.{key} is about channels of images: name them, too, as in {GROUP}.channels=5.")
    rgb = content.get("rgb") or []
    if rgb and (len(rgb) != 3 or not set(rgb) <= set(numbers) or len(numbers) == 3):
        raise RecipeError(
            f"{GROUP}.rgb is {rgb}: it lists red, green and blue among more than three channels ({numbers}); of three, "
            f"{GROUP}.channels gives the order."
        )
    if bool(content.get("mean")) != bool(content.get("std")) or any(
        len(content.get(key) or numbers) != len(numbers) for key in ("mean", "std")
    ):
        raise RecipeError(f"{GROUP}.mean and {GROUP}.std are both lists of {len(numbers)} numbers, or both empty.")
    for key in ("mean", "std"):
        given = content.get(key) or []
        if not all(isinstance(one, int | float) and math.isfinite(one) for one in given):
            raise RecipeError(f"{GROUP}.{key} is {given}: it lists finite numbers, one for each channel.")
        if key == "std" and given and min(given) <= 0:
            raise RecipeError(f"{GROUP}.std is {given}: all of it must be above 0.")

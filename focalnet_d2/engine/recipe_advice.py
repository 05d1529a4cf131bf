"""What is said about a folder that a recipe cannot learn from: what it needs, what there is, which recipes fit."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache

from focalnet_d2.config.lazy import find_recipe, list_recipes
from focalnet_d2.config.recipe_files import parse_recipe
from focalnet_d2.config.settings import known_target
from focalnet_d2.config.shipped_fragments import load_fragment
from focalnet_d2.data.folders.dataset import FolderDataset
from focalnet_d2.utils.text import some_of

from .recipe_filling import USES, Use, takes

_FRAGMENTS = "common.data."
_NEEDS = {
    "instances": "objects with boxes",
    "panoptic": "panoptic segments",
    "semantic": "a class for every pixel",
    "classification": "a class for every image",
}


def no_use(mapper: type | None, uses: Sequence[Use], found: Sequence[FolderDataset]) -> str:
    """The sentence for a folder that holds nothing of use.

    Args:
        mapper: of the recipe.
        uses: what the recipe can take.
        found: what the folder holds.
    """
    if not uses:
        known = some_of((one.__name__ for one in USES), len(USES))
        name = "no mapper of ours" if mapper is None else mapper.__name__
        return f"data=DIR fits recipes whose mapper is one of {known}, and this recipe has {name}."
    needs = " or ".join(dict.fromkeys(map(_needed, uses)))
    holds = "; ".join(f"{_held(one)} ({one.layout}: {one.reason})" for one in found)
    fitting = sorted(recipes_for(found), key=lambda name: "mini" not in name)
    advice = f"take a recipe such as {some_of(fitting, 4)}" if fitting else "no shipped recipe takes it"
    return f"This recipe learns from {needs}, but {found[0].root} holds {holds}: {advice}."


def other_kind(name: str, kind: str, own: Use) -> str:
    """The sentence for a registered data set with another kind of truth than the recipe learns from.

    Args:
        name: the data set.
        kind: what it holds, of `dataset.KINDS`.
        own: the use that the recipe makes of data.
    """
    fitting = sorted((one for one in list_recipes() if kind in _own_kinds(one)), key=lambda one: "mini" not in one)
    advice = f"take a recipe such as {some_of(fitting, 4)}" if fitting else "no shipped recipe takes it"
    return f"This recipe learns from {_needed(own)}, but the data set {name} holds {_NEEDS[kind]}: {advice}."


def _own_kinds(recipe: str) -> list[str]:
    """The kinds of data that a shipped recipe learns from as it is."""
    return [use.kind for part in _imported(recipe) for use in _uses_of_part(part)[:1]]


def _needed(use: Use) -> str:
    return "objects with masks" if use.needs_masks else _NEEDS[use.kind]


def _held(dataset: FolderDataset) -> str:
    alone = dataset.kind == "instances" and not dataset.has_masks
    return "boxes without masks" if alone else _NEEDS[dataset.kind].replace("boxes", "masks")


def recipes_for(found: Sequence[FolderDataset]) -> list[str]:
    """Names of the shipped recipes that can learn from one of the data sets, told by the parts that they import."""
    return [
        name
        for name in list_recipes()
        if any(takes(use, one) for part in _imported(name) for use in _uses_of_part(part) for one in found)
    ]


def _imported(name: str) -> Iterator[str]:
    """`coco_detection` for `from .common.data.coco_detection import dataloader`."""
    imports = (node for node in parse_recipe(find_recipe(name)).body if isinstance(node, ast.ImportFrom))
    for node in imports:
        module = node.module or ""
        if module.startswith(_FRAGMENTS) and "dataloader" in [alias.name for alias in node.names]:
            yield module.removeprefix(_FRAGMENTS)


@cache
def _uses_of_part(part: str) -> tuple[Use, ...]:
    mapper = known_target(load_fragment(f"data/{part}", "dataloader").train.mapper)
    return next((uses for one, uses in USES.items() if one is mapper), ())

"""Which part of a data set a file or a folder is, by its name: "instances_train2017.json", "valid", "Testing"."""

import re
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath
from typing import TypeVar

from .dataset import PARTS

WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    **{f"{part}annot": part for part in PARTS},  # folders of CamVid's labels
}

Item = TypeVar("Item")


def part_of_name(name: str) -> str:
    """The part that one name says, "" where it says none, or several."""
    words = re.split(r"[^A-Za-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    parts = {WORDS[word.lower()] for word in words if word.lower() in WORDS}
    return parts.pop() if len(parts) == 1 else ""


def part_of_path(path: str) -> str:
    """The part that a relative path says: by the name of the file, else by that of its nearest folder that says one."""
    pure = PurePosixPath(path)
    names = (pure.name, *(parent.name for parent in pure.parents))
    return next((part for name in names if (part := part_of_name(name))), "")


def grouped_by_part(
    items: Iterable[Item], part_of: Callable[[Item], str], taken: Collection[str]
) -> tuple[dict[str, list[Item]], list[Item]]:
    """The items of each part, and those that say none and are left because there are others for training.

    Args:
        part_of: the part that an item says, "" for none.
        taken: parts that have items of their own already.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(part_of(item), []).append(item)
    unnamed = groups.pop("", [])
    if unnamed and "train" not in {*groups, *taken}:
        return {**groups, "train": unnamed}, []
    return groups, unnamed


def in_order(parts: Iterable[str]) -> list[str]:
    """Names of parts in the order in which they are used."""
    return sorted(parts, key=PARTS.index)

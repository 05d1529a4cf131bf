"""Sizes of memory as people write them, and the setting `train.batch`, which may hold one."""

import re

from omegaconf import DictConfig

from .recipe_files import RecipeError

BATCH = "dataloader.train.total_batch_size"
AUTO = "auto"  # the value of train.batch for as much memory as there is
RESERVE = 0.1  # share of the memory that a plan leaves free for what allocators and drivers take
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MGT]I?B)")


def memory_size(text: str) -> int | None:
    """Bytes of a size such as 24GB or 7.5GiB; None for what is none."""
    found = _SIZE.fullmatch(text.strip().upper())
    return int(float(found[1]) * _UNITS[found[2]]) or None if found else None


def gib(size: int) -> str:
    """Bytes as people read them, in GiB: 20.12."""
    return f"{size / 2**30:.2f}"


def check_batch(recipe: DictConfig) -> None:
    """Raise `RecipeError` unless `train.batch` is null, auto or a size of memory."""
    value = recipe.train.get("batch") if isinstance(recipe.get("train"), DictConfig) else None
    if value is not None and value != AUTO and memory_size(str(value)) is None:
        raise RecipeError(
            f"train.batch is {value!r}: it must be auto, or the memory to fill, as in train.batch=24GB; the number of "
            f"images in a batch is {BATCH}."
        )

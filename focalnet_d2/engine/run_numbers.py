"""Runs of one recipe for which nobody has named a folder: output/RECIPE, output/RECIPE-2, output/RECIPE-3, ...

A new run takes the number after those of all runs there are, and a run that goes on is the newest one that is not
complete. Both lock their folder before they settle on it, so of processes that start at once each has a folder of its
own.
"""

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from focalnet_d2.config.lazy import RecipeError, find_recipe, recipe_from_yaml
from focalnet_d2.config.recipe_files import RUN_RECIPE
from focalnet_d2.utils.folder_lock import FolderInUse
from focalnet_d2.utils.text import plural

from .checkpointing import FINAL, last_name
from .metrics import METRICS, is_evaluated
from .own_data import data_settings
from .run_folder import holds_run, locked, read_identity, require_free

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunStatus:
    """How far the run in a folder is.

    Attributes:
        folder: of the run.
        recipe: path or name with which it was started; "" for a run of 0.1.0.
        data: the folder of its own data, "" where it has none.
        done: iterations that its last checkpoint has; 0 without one.
        max_iter: iterations that it is to have; None where nothing says it.
        is_complete: trained to its end and evaluated.
    """

    folder: Path
    recipe: str
    data: str
    done: int
    max_iter: int | None
    is_complete: bool

    def __str__(self) -> str:
        about = f" on {self.data}" if self.data else ""
        if self.is_complete:
            return f"{self.folder} (complete, {plural(self.done, 'iteration')}{about})"
        return f"{self.folder} ({self.done} of {self.max_iter or '?'} iterations{about})"


def numbered(base: Path, number: int) -> Path:
    """The folder of this number, from 1."""
    return base if number == 1 else base.with_name(f"{base.name}-{number}")


def folders_of(base: Path) -> dict[int, Path]:
    """The folders there are, by their number, ascending."""
    found = {1: base} if base.is_dir() else {}
    for path in base.parent.iterdir() if base.parent.is_dir() else ():
        name = re.fullmatch(rf"{re.escape(base.name)}-([1-9]\d*)", path.name)
        if name and int(name[1]) > 1 and path.is_dir():
            found[int(name[1])] = path
    return dict(sorted(found.items()))


def enter_next(stack: ExitStack, base: Path) -> tuple[Path, str]:
    """Lock the next free folder until the stack is closed.

    Returns:
        The folder, and a sentence about it where it is not the first one.
    """
    taken = [number for number, folder in folders_of(base).items() if not _is_free(folder)]
    number = taken[-1] + 1 if taken else 1
    while not _enter_if_free(stack, numbered(base, number)):
        number += 1
    if number == 1:
        return base, ""
    others = "another run" if number == 2 else "other runs"
    folder = numbered(base, number)
    return folder, f"{base} holds {others}, so this one is in {folder}; train.output_dir names another folder."


def _enter_if_free(stack: ExitStack, folder: Path) -> bool:
    with ExitStack() as attempt:
        try:
            attempt.enter_context(locked(folder))
        except FolderInUse:
            return False
        if not _is_free(folder):  # of a run that has begun and ended meanwhile
            return False
        stack.push(attempt.pop_all())
        return True


def _is_free(folder: Path) -> bool:
    try:
        require_free(folder)
    except ValueError:
        return False
    return True


def enter_unfinished(stack: ExitStack, runs: Sequence[RunStatus]) -> RunStatus:
    """Lock the folder of the first run in which nobody works, until the stack is closed.

    Raises:
        ValueError: processes work in all of them.
    """
    for run in runs:
        with suppress(FolderInUse):
            stack.enter_context(locked(run.folder))
            return run
    raise ValueError(
        f"--resume found no run that has stopped: processes work in {_list(runs)}. Wait until one has ended, or start "
        "another run without --resume."
    )


def runs_to_resume(base: Path, recipe: str | Path, data: str | None) -> list[RunStatus]:
    """The runs of a recipe that can go on, the newest first: those that are not complete, else the newest one.

    Args:
        base: the folder of the first run.
        data: the folder of data that was named; None takes runs on any data.

    Raises:
        FileNotFoundError: there is no run of this recipe and data.
        ValueError: several runs can go on, which differ in their data, and none was named.
    """
    all_runs = [read_status(folder) for folder in folders_of(base).values() if holds_run(folder)]
    own = [run for run in all_runs if _is_of(run, recipe)]
    fitting = [run for run in own if data is None or run.data == data]
    if not fitting:
        others = f" The runs there are: {_list(own or all_runs)}." if all_runs else ""
        about = f" on {data}" if data and all_runs else ""
        raise FileNotFoundError(
            f"--resume found no checkpoint of {recipe}{about} in {base.absolute()}: start without it, or set "
            f"train.output_dir to the folder of the run.{others}"
        )
    open_runs = [run for run in reversed(fitting) if not run.is_complete]
    if len({run.data for run in open_runs}) > 1:
        raise ValueError(
            f"--resume found several runs of {recipe} that are not complete: {_list(open_runs)}. Say which one by "
            f"train.output_dir, as in train.output_dir={open_runs[0].folder}."
        )
    return open_runs or fitting[-1:]


def read_status(folder: Path) -> RunStatus:
    """How far the run in a folder is; what cannot be read counts as not there."""
    identity = read_identity(folder)
    recipe: Any = None
    with suppress(OSError, RecipeError):
        recipe = recipe_from_yaml((folder / RUN_RECIPE).read_text(encoding="utf-8"), str(folder / RUN_RECIPE))
    settings = data_settings(recipe) if recipe is not None else None
    name, done, planned = _last_checkpoint(folder)
    max_iter = None if recipe is None else recipe.train.get("max_iter")
    is_longer = max_iter is not None and planned is not None and max_iter > planned  # it was resumed to train on
    return RunStatus(
        folder,
        "" if identity is None else identity.recipe,
        settings["root"] if settings else "",
        done,
        max_iter,
        name == FINAL and not is_longer and is_evaluated(folder / METRICS, done),
    )


def _last_checkpoint(folder: Path) -> tuple[str, int, int | None]:
    """Its name, its iterations, and `train.max_iter` of the run that wrote it."""
    name = last_name(folder)
    if name is None:
        return "", 0, None
    with suppress(Exception):  # whoever loads it will say what is wrong with it
        content = torch.load(folder / name, map_location="cpu", weights_only=True, mmap=True)
        return name, content["iteration"], recipe_from_yaml(content["recipe"]).train.get("max_iter")
    return name, 0, None


def _is_of(run: RunStatus, recipe: str | Path) -> bool:
    if not run.recipe:
        return True
    try:
        return find_recipe(run.recipe) == find_recipe(recipe)
    except RecipeError:  # a file that is no longer there
        return Path(run.recipe).stem == Path(recipe).stem


def _list(runs: Sequence[RunStatus]) -> str:
    return ", ".join(map(str, runs))

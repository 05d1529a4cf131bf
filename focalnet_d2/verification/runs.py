"""Runs of a small form, in this process and without a word on the terminal."""

import io
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from focalnet_d2.config.recipe_files import RUN_RECIPE
from focalnet_d2.engine.checkpointing import FINAL, LAST
from focalnet_d2.engine.jobs import Job, run_job
from focalnet_d2.engine.metrics import METRICS
from focalnet_d2.engine.run import LOGGERS
from focalnet_d2.engine.run_folder import RUN_FILE

from .small_form import SAVED_AFTER

CHECKPOINT = f"model_{SAVED_AFTER:07d}.pth"


def train(job: Job, folder: Path) -> None:
    """A run from its beginning to its end, with an evaluation of what it has learned."""
    with quiet():
        run_job(in_folder(job, folder))


def go_on(job: Job, earlier: Path, folder: Path) -> None:
    """A run in another folder, from the checkpoint that an earlier run has left on its way, to its end.

    The folder gets what would lie there if the earlier run had been killed after that checkpoint.
    """
    folder.mkdir()
    for name in (CHECKPOINT, RUN_RECIPE, RUN_FILE, METRICS):
        shutil.copy(earlier / name, folder)
    (folder / LAST).write_text(CHECKPOINT, encoding="utf-8")
    with quiet():
        run_job(replace(in_folder(job, folder), resume=True))


def evaluate(job: Job, checkpoint: Path, folder: Path) -> None:
    """An evaluation alone."""
    settings = (*job.overrides, f"train.init_checkpoint={checkpoint}")
    with quiet():
        run_job(
            replace(in_folder(job, folder), overrides=(*settings, f"train.output_dir={folder}"), evaluate_only=True)
        )


def train_and_evaluate(job: Job, folder: Path) -> None:
    """What another process does: the run once more, and an evaluation of that of this process."""
    torch.set_num_threads(1)
    train(job, folder / "second")
    evaluate(job, folder / "first" / FINAL, folder / "alone")


def in_folder(job: Job, folder: Path) -> Job:
    """The job, at work there."""
    return replace(job, overrides=(*job.overrides, f"train.output_dir={folder}"))


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, nothing is printed; loggers are afterwards as before. `log.txt` in the folder of a run has it all."""
    before: dict[str, Any] = {
        name: (one.handlers[:], one.propagate, one.level) for name in LOGGERS if (one := logging.getLogger(name))
    }
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        for name, (handlers, propagate, level) in before.items():
            one = logging.getLogger(name)
            one.handlers[:], one.propagate = handlers, propagate
            one.setLevel(level)

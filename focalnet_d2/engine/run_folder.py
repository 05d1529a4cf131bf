"""The folder of a run: whose it is, that one process at a time works in it, and what a new run may remove.

A training writes its identity to `run.json`, and its checkpoints carry the same id. A folder with the work of a
training or an evaluation is left alone unless that run is continued or the folder was given up with `--overwrite`.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from focalnet_d2.config.epoch_settings import in_other_unit
from focalnet_d2.config.recipe_files import RUN_RECIPE
from focalnet_d2.evaluation.report import RESULTS
from focalnet_d2.utils.atomic_write import remove_unfinished, write_atomically
from focalnet_d2.utils.folder_lock import folder_lock
from focalnet_d2.utils.text import some_of

from .checkpointing import BEST, BEST_WEIGHTS, LAST, last_name
from .csv_file import CSV
from .environment import ENVIRONMENT
from .metrics import METRICS
from .pictures import FIRST_BATCH, SAMPLES
from .trackers import TRACKED
from .trainer import NAN_REPORT

RUN_FILE = "run.json"
LOCK_FILE = "run.lock"
REPORT = "report.html"
EVALUATION_FOLDER = "evaluation"  # of an evaluation whose folder holds a training
CHECKPOINT = re.compile(r"model_(\d{7,}|final|best)(\.suspect)?\.pth")
TRAINING = (LAST, BEST, METRICS)
# Of no worth without the rest: a start that failed leaves them, too.
RECORDS = (RUN_FILE, RUN_RECIPE, NAN_REPORT, ENVIRONMENT, REPORT, CSV, TRACKED, FIRST_BATCH)
GENERATED = (
    *("*_counts.json", "*_examples.json", "*_predictions.json", "coco_instances_results.json"),
    *("events.out.tfevents.*", "nonfinite_*.pth", f"{SAMPLES}/*.jpg"),
)


@dataclass(frozen=True)
class RunIdentity:
    """What `run.json` holds.

    Attributes:
        id: 16 hexadecimal digits, also in `metadata` of the run's checkpoints.
        recipe: path or name as it was given.
        overrides: settings of all starts of the run, the later ones last.
    """

    id: str
    recipe: str
    overrides: tuple[str, ...] = ()

    def continued(self, overrides: Sequence[str]) -> "RunIdentity":
        """The run after a start with further overrides, which replace those of the same settings, in any unit."""
        typed = {override.partition("=")[0] for override in overrides}
        again = typed | {in_other_unit(key) for key in typed}
        kept = (override for override in self.overrides if override.partition("=")[0] not in again)
        return replace(self, overrides=(*kept, *overrides))

    def write(self, folder: Path) -> None:
        """Write `run.json`."""
        content = {"id": self.id, "recipe": self.recipe, "overrides": list(self.overrides)}
        write_atomically(folder / RUN_FILE, json.dumps(content, indent=1) + "\n", sync=True)


def new_run_id() -> str:
    """An id that no other run has."""
    return secrets.token_hex(8)


def read_identity(folder: Path) -> RunIdentity | None:
    """The identity of the training in a folder; None where there is none, or one of 0.1.0, which wrote no such file.

    Raises:
        ValueError: `run.json` cannot be read.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RunIdentity(str(content["id"]), str(content["recipe"]), tuple(map(str, content["overrides"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error!r}): remove it, and --resume takes the folder as it is."
        ) from error


def run_of_recipe(file: Path) -> Path | None:
    """The folder of the run that a recipe is of: its `recipe.yaml`; None for any other recipe."""
    folder = file.parent
    is_run = file.name == RUN_RECIPE and any((folder / name).is_file() for name in (RUN_FILE, LAST, BEST_WEIGHTS))
    return folder if is_run else None


def weights_to_score(folder: Path) -> Path:
    """The weights of a run that count: the best ones, else those of the last checkpoint.

    Raises:
        FileNotFoundError: the run has left none.
    """
    names = (BEST_WEIGHTS, last_name(folder))
    if (found := next((folder / name for name in names if name and (folder / name).is_file()), None)) is None:
        raise FileNotFoundError(
            f"The run in {folder} has no checkpoint to evaluate: train on with --resume, or name weights by "
            "train.init_checkpoint=FILE."
        )
    return found


def checkpoints_in(folder: Path) -> list[Path]:
    """The files of a folder that are named as checkpoints of a run."""
    return sorted(path for path in folder.glob("model_*.pth") if CHECKPOINT.fullmatch(path.name))


def training_in(folder: Path) -> list[Path]:
    """What a training has left in a folder that is worth keeping."""
    others = [path for name in TRAINING if (path := folder / name).is_file() and path.stat().st_size > 0]
    return [*checkpoints_in(folder), *others]


def require_free(folder: Path) -> None:
    """Raise `ValueError` if a new run would delete or overwrite what another one left in the folder."""
    results = folder / RESULTS
    work = [path.name for path in [*training_in(folder), *([results] if results.is_file() else [])]]
    if work:
        raise ValueError(
            f"{folder} holds {some_of(work)} of another run: add --resume to continue it, set train.output_dir to "
            f"another folder, or add --overwrite to remove that run's files."
        )


def require_one_run(folder: Path) -> str | None:
    """The id of the run whose checkpoints a folder holds; None where there are none, or only some of 0.1.0.

    Raises:
        ValueError: a checkpoint is of another run than `run.json`, or than another checkpoint.
    """
    identity = read_identity(folder)
    owner = None if identity is None else identity.id
    for path in checkpoints_in(folder):
        this = checkpoint_owner(path)
        if this and owner and this != owner:
            raise ValueError(
                f"{path} belongs to run {this} and not to run {owner} of this folder, which would overwrite or delete "
                f"it: move it away."
            )
        owner = owner or this
    return owner


def checkpoint_owner(path: Path) -> str | None:
    """The id of the run that wrote a checkpoint; None if it does not say, or cannot be read."""
    with suppress(Exception):  # whoever loads it will say what is wrong with it
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["metadata"].get("run")
    return None


def holds_run(folder: Path) -> bool:
    """Whether a run has begun in a folder; it may have no checkpoint yet."""
    return (folder / LAST).is_file() or (folder / RUN_FILE).is_file()


def require_checkpoint(folder: Path) -> None:
    """Raise `FileNotFoundError` if there is no run to resume."""
    if not holds_run(folder):
        raise FileNotFoundError(
            f"--resume found no checkpoint in {folder.absolute()}: start without it, or set train.output_dir to the "
            "folder of the run."
        )


def remove_run(folder: Path, *, spare: str = "") -> None:
    """Remove the files of a training and of its evaluations; files with other names, and `log.txt`, stay.

    Args:
        spare: a file that is still needed, `train.init_checkpoint`.

    Raises:
        ValueError: that file is one of those to remove, or a checkpoint is of another run than the others.
    """
    require_one_run(folder)
    named = [folder / name for name in (*TRAINING, *RECORDS, RESULTS)]
    files = [*checkpoints_in(folder), *named, *(path for pattern in GENERATED for path in folder.glob(pattern))]
    if spare and any(path.exists() and Path(spare).exists() and path.samefile(spare) for path in files):
        raise ValueError(f"--overwrite would remove train.init_checkpoint={spare}: move that file to another folder.")
    for path in files:
        path.unlink(missing_ok=True)


def evaluation_folder(folder: Path) -> Path:
    """Where an evaluation alone writes: the folder, or a folder within if it holds a training."""
    holds_training = (folder / RUN_FILE).is_file() or training_in(folder)
    return folder / EVALUATION_FOLDER if holds_training else folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is this process's inside, and free of unfinished files of killed ones; see `folder_lock`.

    Raises:
        FolderInUse: another process works in the folder.
    """
    remedy = "wait until that run has ended, or set train.output_dir to another folder."
    with folder_lock(folder, LOCK_FILE, remedy):
        remove_unfinished(folder)
        yield

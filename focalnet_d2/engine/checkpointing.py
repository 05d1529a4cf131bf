"""Checkpoints of a run: everything that is needed to go on exactly where it stopped.

A file holds tensors and plain values only, so it loads with `weights_only=True`:

| key | content |
| --- | --- |
| model | weights that evaluation uses: the averaged ones (EMA) where a run has them |
| training_model | the weights being trained, only beside averaged ones |
| optimizer, scheduler, scaler | their state dicts |
| iteration | number of finished iterations |
| rng | one state per rank (`rng.py`) |
| skipped | steps that were left out because they were not finite: in all, and in a row up to here |
| best | best value of the watched metric, its iteration and name, or None |
| recipe | the recipe as YAML |
| metadata | class names, class list (`data/class_map.py`), versions, id of the run (`run_folder.py`), training images |
"""

import copy
import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import detectron2
import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from omegaconf import DictConfig
from torch import nn

from focalnet_d2.checkpoint import checkpoint_metadata, read_checkpoint, save_checkpoint
from focalnet_d2.config.lazy import recipe_to_yaml
from focalnet_d2.data.catalog import load_dataset
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.class_metadata import metadata_classes
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.text import some_of
from focalnet_d2.version import __version__

from .distributed import all_gather_object
from .resuming import log_changes, new_settings, warn_of_other_images
from .rng import get_rng_state
from .sharding import full_tensor, shard_optimizer_state_dict, shard_state_dict

LAST = "last_checkpoint"
BEST = "best.json"
FINAL = "model_final.pth"
BEST_WEIGHTS = "model_best.pth"
SUSPECT = ".suspect.pth"  # ends the name of a checkpoint whose weights gave losses that are not finite
PERIODIC = re.compile(r"model_(\d{7,})\.pth")

logger = logging.getLogger(__name__)


@dataclass
class SkipCount:
    """Steps that were left out because a loss or a gradient was not finite: in all, and in a row up to now."""

    total: int = 0
    in_row: int = 0


class RunState:
    """What a run saves and restores.

    Args:
        model: without a distributed wrapper; its parameters, and with them the optimizer's, may be sharded.
        optimizer, scheduler, scaler: with `state_dict` and `load_state_dict`.
        averaged: averaged weights (`hooks.EMAHook`), or None.
        description: `recipe` and `metadata` of the file (`describe_run`).
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        optimizer: Any,
        scheduler: Any,
        scaler: Any,
        averaged: Any = None,
        description: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler}
        self.averaged = averaged
        self.description = description or {}
        self.best: dict[str, Any] | None = None
        self.skips = SkipCount()

    def weights(self) -> dict[str, Any]:
        """The content of a file for evaluation and fine-tuning only, on the main process; all ranks must call it."""
        model = self.model.state_dict() if self.averaged is None else self.averaged.state_dict()
        return {"model": full_tensor(model), "best": self.best, **self.description}

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """The content of a checkpoint after `iteration` iterations, on the main process; all ranks must call it."""
        state = {"iteration": iteration, "rng": all_gather_object(get_rng_state()), **self.weights()}
        state["skipped"] = asdict(self.skips)
        if self.averaged is not None:
            state["training_model"] = full_tensor(self.model.state_dict())
        return state | {name: full_tensor(part.state_dict()) for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore everything but the random generators; all ranks must call it.

        Raises:
            ValueError: the file was written by another kind of run, or for other classes.
        """
        missing = {"model", "iteration", "rng", "best", *self.parts} - set(state)
        if missing:
            raise ValueError(
                f"it holds no {', '.join(sorted(missing))}, so a run cannot continue from it; give it as "
                f"train.init_checkpoint without --resume to start from its weights."
            )
        self._check_classes(state)
        own = self.model.state_dict()
        self.model.load_state_dict(shard_state_dict(state.get("training_model", state["model"]), own))
        if self.averaged is not None:
            self.averaged.load_state_dict(shard_state_dict(state["model"], own))
        parts = {**state, "optimizer": shard_optimizer_state_dict(state["optimizer"], self.parts["optimizer"])}
        for name, part in self.parts.items():
            if parts[name]:  # that of the scaler is empty where the loss was not scaled: it begins anew
                part.load_state_dict(copy.deepcopy(parts[name]))  # a copy: tensors may be mapped from the file
        self.best = state["best"]
        skipped = state.get("skipped", {})  # 0.1.0 counted none
        self.skips.total, self.skips.in_row = skipped.get("total", 0), skipped.get("in_row", 0)

    def _check_classes(self, state: dict[str, Any]) -> None:
        recorded, names = (content.get("metadata", {}).get("thing_classes") for content in (state, self.description))
        if recorded is not None and names is not None and list(recorded) != list(names):
            raise ValueError(
                f"it was trained on the classes {some_of(recorded, 10)}, and the data has {some_of(names, 10)} now; "
                "start another run with it as train.init_checkpoint and train.new_classes=True."
            )


def describe_run(recipe: DictConfig, model: nn.Module, run: str = "", *, images: int = 0) -> dict[str, Any]:
    """`recipe` and `metadata` of a checkpoint: recipe text, classes in the order of the outputs, versions, run.

    Args:
        run: id of the run (`run_folder.py`).
        images: of the training data; 0 = not known.
    """
    versions = {
        "focalnet_d2": __version__,
        "torch": str(torch.__version__),
        "numpy": str(np.__version__),
        "detectron2": str(detectron2.__version__),
    }
    metadata = checkpoint_metadata(model, class_names(recipe.dataloader.train))
    if (classes := class_list(recipe.dataloader.train)) is not None:
        metadata["classes"] = classes.to_plain()
    metadata |= {"versions": versions, "run": run, "training_images": images}
    return {"recipe": recipe_to_yaml(recipe), "metadata": metadata}


def class_names(loader: DictConfig, *, read: bool = True) -> list[str] | None:
    """Names of the classes of a loader node's data set in the order of the outputs; None where it has none.

    Panoptic and semantic sets list all their classes as stuff_classes, the others theirs as thing_classes.

    Args:
        read: read the annotations of a data set whose names are not known before.
    """
    name = first_name(loader)
    known = _registered_classes(name)
    if known is None and read:
        load_dataset(name)
        known = _registered_classes(name)
    return known


def class_list(loader: DictConfig) -> ClassMap | None:
    """The classes of a loader node's data set, whose metadata are known; None where they make no class list."""
    name = first_name(loader)
    try:
        return metadata_classes(MetadataCatalog.get(name))
    except ValueError as error:
        logger.warning("The checkpoints of this run have no class list, only names, for that of %s: %s", name, error)
        return None


def first_name(loader: DictConfig) -> str:
    """The registered name of a loader node's data set, the first of several."""
    names = loader.dataset.names
    return names if isinstance(names, str) else names[0]


def _registered_classes(name: str) -> list[str] | None:
    metadata = MetadataCatalog.get(name)
    known = metadata.get("stuff_classes") or metadata.get("thing_classes")
    return None if known is None else [str(entry) for entry in known]


def save_run(folder: Path, name: str, state: RunState, iteration: int) -> None:
    """Write `<folder>/<name>` atomically and note it as the last checkpoint; all ranks must call it."""
    content = state.state_dict(iteration)
    if comm.is_main_process():
        save_checkpoint(folder / name, content)
        write_atomically(folder / LAST, name, sync=True)
        logger.info("Saved %s after %d iterations.", folder / name, iteration)


def save_best(folder: Path, name: str, state: RunState) -> None:
    """Write the weights with the best metric so far; only the main process writes, all ranks must call it."""
    content = state.weights()
    if comm.is_main_process():
        save_checkpoint(folder / name, content)
        write_atomically(folder / BEST, json.dumps(state.best), sync=True)


def periodic_name(iteration: int) -> str:
    """Name of the checkpoint after so many iterations, where a run goes on."""
    return f"model_{iteration:07d}.pth"


def periodic_checkpoints(folder: Path, below: int) -> list[Path]:
    """The periodic checkpoints after less than `below` iterations, in the order of iterations."""
    found = {path: int(name[1]) for path in folder.glob("model_*.pth") if (name := PERIODIC.fullmatch(path.name))}
    return sorted((path for path in found if found[path] < below), key=lambda path: found[path])


def last_name(folder: Path) -> str | None:
    """Name of the checkpoint from which the run in a folder goes on; None where it has none."""
    pointer = folder / LAST
    return pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def read_best(folder: Path, done: int) -> dict[str, Any] | None:
    """Metric, value and iteration of the best weights of a run up to `done` iterations; None where it has none."""
    file = folder / BEST
    best = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    return best if best is not None and best["iteration"] <= done else None


def distrust_checkpoint(folder: Path, iteration: int) -> str:
    """Set the checkpoint after `iteration` iterations aside, whose weights gave losses that are not finite.

    Returns:
        A sentence about the checkpoints of the folder.
    """
    suspect, last = folder / periodic_name(iteration), last_name(folder)
    if last is None:
        return "No checkpoint was saved."
    if last != suspect.name:
        return f"The last checkpoint is {folder / last}."
    earlier = [path.name for path in periodic_checkpoints(folder, iteration)]
    final = folder / FINAL  # of a run that was made longer
    if final.is_file() and (done := read_checkpoint(final)["iteration"]) < iteration:
        earlier = sorted([*earlier, FINAL], key=lambda name: done if name == FINAL else int(name[6:-4]))
    aside = f"{suspect} has the weights that gave them and is now named {suspect.stem}{SUSPECT}"
    if earlier:
        write_atomically(folder / LAST, earlier[-1], sync=True)
    else:
        (folder / LAST).unlink()
    suspect.rename(folder / (suspect.stem + SUSPECT))
    return f"{aside}; --resume goes on from {earlier[-1]}." if earlier else f"{aside}; there is no earlier checkpoint."


def resume_run(folder: Path, state: RunState, recipe: DictConfig | None = None) -> tuple[int, dict[str, Any] | None]:
    """Restore the last checkpoint of a folder.

    Args:
        recipe: settings of the run from now on; what differs from the checkpoint's is logged. Without it, those of the
            optimizer are the checkpoint's.

    Returns:
        The number of finished iterations, and this rank's random state (None if the number of ranks has changed).

    Raises:
        FileNotFoundError: the folder has no checkpoint of a run.
        ValueError: the file cannot be read, or is not of this run.
    """
    name = last_name(folder)
    if name is None:
        raise FileNotFoundError(
            f"--resume found no checkpoint in {folder.absolute()}: start without it, or set train.output_dir to the "
            "folder of the run."
        )
    path = folder / name
    content = read_checkpoint(path)
    try:
        if recipe is None:
            state.load_state_dict(content)
        else:
            log_changes(str(content.get("recipe", "")), recipe)
            warn_of_other_images(*(one.get("metadata", {}) for one in (content, state.description)))
            with new_settings(state.parts["optimizer"], state.parts["scheduler"]):
                state.load_state_dict(content)
    except (RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"Cannot resume from {path}: {error}") from error
    iteration, rng = content["iteration"], content["rng"]
    if known := read_best(folder, iteration):  # the evaluation of the last iteration comes after its checkpoint
        state.best = known
    rate = max(group["lr"] for group in state.parts["optimizer"].param_groups)
    logger.info("Resumed %s after %d iterations, the next one has the learning rate %.3g.", path, iteration, rate)
    if len(rng) != comm.get_world_size():
        logger.warning("The run had %d processes before: it goes on with other random numbers.", len(rng))
        return iteration, None
    return iteration, rng[comm.get_rank()]

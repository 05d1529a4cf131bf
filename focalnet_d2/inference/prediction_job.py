"""Predicts many files into a folder, in as many processes as there are, and goes on where an earlier start stopped."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from detectron2.utils import comm

from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.distributed import all_gather_object, launch, local_rank, on_main_process, process_count
from focalnet_d2.utils.atomic_write import write_atomically

from .image_files import named_images
from .output_kinds import Kind, choose_kinds
from .predictor import Predictor
from .tiles import TileSettings

SETTINGS = "predict.json"  # what the files of a folder were predicted with
Progress = Callable[[list[str]], Any]  # shows how many of the names a loop over it has passed


@dataclass(frozen=True)
class PredictionJob:
    """Which files to predict with what, and where the results go; travels to the processes that share the work.

    Attributes:
        checkpoint, recipe, device, threshold, batch_size, tiles, trust: see `Predictor`.
        paths: of image files, folders with images, or patterns.
        out: folder of the results, which is made.
        kinds: names in `KINDS`; none for all but pictures that the model predicts.
    """

    checkpoint: str
    paths: tuple[str, ...]
    out: Path
    kinds: tuple[str, ...] = ()
    recipe: str | None = None
    device: str = "auto"
    threshold: float | None = None
    batch_size: int = 1
    tiles: TileSettings | None = None
    trust: bool = False

    def settings(self) -> dict[str, Any]:
        """What the results depend on, as plain values."""
        status = os.stat(self.checkpoint) if os.path.exists(self.checkpoint) else None  # it may be an address
        return {
            "checkpoint": os.path.abspath(self.checkpoint) if status else self.checkpoint,
            "bytes": status and status.st_size,
            "modified_ns": status and status.st_mtime_ns,
            "recipe": self.recipe,
            "threshold": self.threshold,
            "tiles": self.tiles and [self.tiles.size, self.tiles.overlap],
        }


@dataclass(frozen=True)
class Outcome:
    """How many images there were, and a sentence for each that could not be predicted."""

    images: int
    failures: tuple[str, ...]


def launch_prediction(run: Callable[..., Any], job: PredictionJob, *, num_gpus: int = 1, num_processes: int = 1) -> Any:
    """Call `run(job)` in every process that shares the work; see `engine.distributed.launch`.

    Args:
        run: importable; calls `run_prediction`.

    Raises:
        ValueError: GPUs asked for on a device without, or one GPU for several processes.
    """
    device = resolve_device(job.device)
    count = process_count(device, num_gpus=num_gpus, num_processes=num_processes)
    if count > 1 and ":" in job.device:
        raise ValueError(
            f"--device {job.device} is one GPU, which {count} processes would share: leave out its number."
        )
    return launch(run, num_processes=count, use_cuda=device.type == "cuda", args=(job,))


def run_prediction(job: PredictionJob, progress: Progress = list) -> Outcome:
    """One process of a job; the outcome of all of them.

    Args:
        progress: is given the names of the images that this process predicts, and goes over them.

    Raises:
        FileNotFoundError, ValueError: paths without an image, a checkpoint that cannot be used, kinds that its model
            does not predict, or a folder with results of other settings.
        OSError: a result cannot be written.
    """
    images = on_main_process(lambda: named_images(job.paths))
    predictor = Predictor(
        *(job.checkpoint, job.recipe),
        device=str(resolve_device(job.device, local_rank())),
        threshold=job.threshold,
        batch_size=job.batch_size,
        tiles=job.tiles,
        trust=job.trust,
    )
    kinds = choose_kinds(job.kinds, cast(Sequence[str], predictor.model.tasks), job.checkpoint)
    missing = on_main_process(lambda: _begin(job, list(images), kinds))
    share = list(islice(missing, comm.get_rank(), None, comm.get_world_size()))
    failures = []
    attempts = predictor.attempts(images[name] for name in share)
    for name, attempt in zip(progress(share), attempts):
        if isinstance(attempt, Exception):
            failures.append((name, str(attempt)))
            continue
        for kind in kinds:
            kind.save(attempt, job.out / name)
    everywhere = sorted(failure for share in all_gather_object(failures) for failure in share)
    return Outcome(len(images), tuple(text for _, text in everywhere))


def _begin(job: PredictionJob, names: list[str], kinds: Sequence[Kind]) -> list[str]:
    """Note what the folder is predicted with; the names whose results are not complete.

    Raises:
        ValueError: it holds results of other settings, which would be taken for those of these.
    """
    file, text = job.out / SETTINGS, json.dumps(job.settings(), indent=1)
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise ValueError(
            f"{job.out} holds predictions of another checkpoint or with other settings (see {SETTINGS} there): "
            "name another folder by --out, or remove it."
        )
    write_atomically(file, text)
    return [name for name in names if not all(path.is_file() for kind in kinds for path in kind.files(job.out / name))]

"""Predicts many files into a folder, in as many processes as there are, and goes on where an earlier start stopped.

Of a video all frames are predicted by one process, and one that was interrupted begins again.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

from detectron2.utils import comm

from focalnet_d2.data.shards.files import changed_at
from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.distributed import all_gather_object, launch, local_rank, on_main_process, process_count
from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.folder_lock import folder_lock

from .image_files import LOCK_FILE, named_files, names_too_long
from .output_kinds import Kind, choose_kinds
from .prediction import Prediction
from .prediction_counts import PredictionCounts
from .predictor import Predictor
from .tiles import TileSettings
from .tracking import ObjectTracker
from .video import count_frames, frame_rate, is_video
from .video_files import save_video, video_results

SETTINGS = "predict.json"  # what the files of a folder were predicted with
SOURCES = "sources"  # its entry with the files that the results are of, by the names of those
Progress = Callable[[Iterable[Any], int | None, str], Iterable[Any]]  # shows how far a loop over the items has come


@dataclass(frozen=True)
class PredictionJob:
    """Which files to predict with what, and where the results go; travels to the processes that share the work.

    Attributes:
        checkpoint, recipe, device, threshold, batch_size, tiles, trust: see `Predictor`.
        paths: of image files and videos, folders with them, or patterns.
        out: folder of the results, which is made.
        kinds: names in `KINDS`; none for all but pictures that the model predicts.
        video: also write videos with what was found.
        every: of a video every so many frames are predicted.
        track: give the objects of a video numbers that stay.
    """

    checkpoint: str
    paths: tuple[str, ...]
    out: Path
    kinds: tuple[str, ...] = ()
    recipe: str | None = None
    device: str = "auto"
    threshold: float | None = None
    batch_size: int = 1
    video: bool = False
    every: int = 1
    track: bool = False
    tiles: TileSettings | None = None
    trust: bool = False

    def settings(self) -> dict[str, Any]:
        """What the results depend on, as plain values."""
        status = os.stat(self.checkpoint) if os.path.exists(self.checkpoint) else None  # it may be an address
        of_recipe = os.stat(self.recipe) if self.recipe and os.path.isfile(self.recipe) else None  # it may be a name
        return {
            "checkpoint": os.path.abspath(self.checkpoint) if status else self.checkpoint,
            "bytes": status and status.st_size,
            "modified_ns": status and status.st_mtime_ns,
            "recipe": self.recipe,
            **({"recipe_modified_ns": of_recipe.st_mtime_ns} if of_recipe else {}),
            "threshold": self.threshold,
            "every": self.every,
            "track": self.track,
            "tiles": self.tiles and [self.tiles.size, self.tiles.overlap],
        }


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        files: how many there were; earlier: those whose results an earlier start has left.
        failures: a sentence for each that could not be predicted.
        counts: of what was predicted now.
    """

    files: int
    failures: tuple[str, ...]
    earlier: int = 0
    counts: PredictionCounts = field(default_factory=PredictionCounts)


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


def _without_showing(items: Iterable[Any], total: int | None, unit: str) -> Iterable[Any]:
    return items


def run_prediction(job: PredictionJob, progress: Progress = _without_showing) -> Outcome:
    """One process of a job; the outcome of all of them.

    Args:
        progress: is given what this process predicts, how many there are (None if that is unknown) and what they are.

    Raises:
        FileNotFoundError, ValueError: paths without an image, a checkpoint that cannot be used, kinds that its model
            does not predict, or a folder with results of other settings or other files, or in which another process
            predicts.
        OSError: a result cannot be written.
        ImportError: objects are to be tracked and the package trackers is missing.
    """
    if job.track:
        ObjectTracker()  # raises before anything is loaded or written, where the package is missing
    files = on_main_process(lambda: named_files(job.paths, job.out))
    predictor = Predictor(
        *(job.checkpoint, job.recipe),
        device=str(resolve_device(job.device, local_rank())),
        threshold=job.threshold,
        batch_size=job.batch_size,
        tiles=job.tiles,
        trust=job.trust,
    )
    kinds = choose_kinds(job.kinds, cast(Sequence[str], predictor.model.tasks), job.checkpoint, predictor.classes)
    with ExitStack() as stack:
        missing = on_main_process(lambda: _begin(job, files, kinds, stack))
        work = _Work(job, predictor, kinds, progress)
        failures = work.run({name: files[name] for name in missing})
        everywhere = all_gather_object((failures, work.counts))
    counts = PredictionCounts()
    for _, own in everywhere:
        counts.join(own)
    texts = tuple(text for _, text in sorted(failure for share, _ in everywhere for failure in share))
    return Outcome(len(files), texts, len(files) - len(missing), counts)


class _Work:
    """What one process does, and how much that was."""

    def __init__(self, job: PredictionJob, predictor: Predictor, kinds: Sequence[Kind], progress: Progress):
        self.job, self.predictor, self.kinds, self.progress = job, predictor, kinds, progress
        self.counts = PredictionCounts()

    def run(self, files: dict[str, Path]) -> list[tuple[str, str]]:
        """Write the results of this process's share of the files; the names of those that cannot be, and why."""
        start = time.perf_counter()
        videos = {name for name in files if is_video(files[name])}
        failures = [
            *self._images({name: files[name] for name in _share([name for name in files if name not in videos])}),
            *self._videos({name: files[name] for name in _share(sorted(videos))}),
        ]
        self.counts.seconds = time.perf_counter() - start
        return failures

    def _images(self, files: dict[str, Path]) -> Iterator[tuple[str, str]]:
        attempts = self.predictor.attempts(files.values())
        for name in self.progress(files, len(files), "images"):
            # Nothing here refers to the results of an image while the next one, which may be as large, is predicted.
            if failure := self._save(next(attempts), name, files[name]):
                yield name, failure

    def _save(self, attempt: Prediction | Exception, name: str, file: Path) -> str | None:
        """Write the results of an image; where that cannot be done, why."""
        if isinstance(attempt, Exception):
            return str(attempt)
        try:
            for kind in self.kinds:
                kind.save(attempt, self.job.out / name)
        except OSError as error:
            return names_too_long(error, file)
        self.counts.add(attempt)
        return None

    def _videos(self, files: dict[str, Path]) -> Iterator[tuple[str, str]]:
        job = self.job
        for name, path in files.items():
            try:
                total = count_frames(path)
                tracker = ObjectTracker(frame_rate=frame_rate(path)) if job.track else None
                frames = self.counts.counting(self.predictor.video(path, job.every, tracker=tracker))
                shown = self.progress(frames, total and -(-total // job.every), f"frames of {name}")
                save_video(shown, job.out / name, self.kinds, drawn=job.video)
            except (OSError, ValueError) as error:
                yield name, str(error)


def _share(names: Sequence[str]) -> list[str]:
    """What this process predicts."""
    return list(names[comm.get_rank() :: comm.get_world_size()])


def _begin(job: PredictionJob, files: dict[str, Path], kinds: Sequence[Kind], stack: ExitStack) -> list[str]:
    """Note what the folder is predicted with; the names of the files whose results are not complete.

    Args:
        stack: gets the lock of the folder.

    Raises:
        ValueError: it holds results of other settings, which would be taken for those of these, or of other files, or
            another process is at work there.
    """
    remedy = "wait until it has ended, or name another folder by --out."
    stack.enter_context(folder_lock(job.out, LOCK_FILE, remedy, keep_file=False))
    file, settings = job.out / SETTINGS, job.settings()
    sources: dict[str, str] = {}
    if file.is_file():
        earlier = _read_settings(file)
        sources = earlier.pop(SOURCES, {})
        if earlier != settings:
            raise ValueError(
                f"{job.out} holds predictions of another checkpoint or with other settings (see {SETTINGS} there): "
                "name another folder by --out, or remove it."
            )
    _check_sources(job.out, files, sources)
    _check_letters(job.out, files)
    sources |= {name: str(path.absolute()) for name, path in files.items()}
    write_atomically(file, json.dumps({**settings, SOURCES: sources}, indent=1))
    return [name for name, path in files.items() if not _is_done(job, name, path, kinds)]


def _read_settings(file: Path) -> dict[str, Any]:
    """What an earlier start has noted; nothing where it is no such note."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return content if isinstance(content, dict) and isinstance(content.get(SOURCES, {}), dict) else {}


def _check_sources(out: Path, files: dict[str, Path], sources: dict[str, str]) -> None:
    """Raises ValueError where the results of a file have the name that those of another one have in the folder."""
    for name, path in files.items():
        earlier = Path(sources.get(name, path))
        if earlier.absolute() != path.absolute() and earlier.exists() and path.exists() and not earlier.samefile(path):
            raise ValueError(
                f"{out} holds the results of {earlier}, and those of {path} would have the same name: name another "
                "folder by --out."
            )


def _check_letters(out: Path, files: dict[str, Path]) -> None:
    """Raises ValueError where two results differ in small and capital letters, and the file system knows no such thing.

    It finds the lock's file, which is there now, by another name then.
    """
    if not (out / LOCK_FILE.upper()).exists():
        return
    first: dict[str, str] = {}
    for name in files:
        if (other := first.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"The results of {files[other]} and {files[name]} would have one name in {out}, where small and "
                "capital letters are the same: predict them into different folders."
            )


def _is_done(job: PredictionJob, name: str, path: Path, kinds: Sequence[Kind]) -> bool:
    """Whether the results of a file are all there, and none is older than the file."""
    start = job.out / name
    results: Iterable[Path] = (
        video_results(start, drawn=job.video) if is_video(path) else chain(*(kind.files(start) for kind in kinds))
    )
    try:
        changed = changed_at(path)
        return all(file.is_file() and file.stat().st_mtime_ns >= changed for file in results)
    except OSError:  # one does not exist
        return False

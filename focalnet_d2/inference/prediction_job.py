"""Predicts many files into a folder, in as many processes as there are, and goes on where an earlier start stopped.

Of a video all frames are predicted by one process, and one that was interrupted begins again.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, cast

from detectron2.utils import comm

from focalnet_d2.engine.device import resolve_device
from focalnet_d2.engine.distributed import all_gather_object, launch, local_rank, on_main_process, process_count
from focalnet_d2.utils.atomic_write import write_atomically

from .image_files import named_files
from .output_kinds import Kind, choose_kinds
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
        return {
            "checkpoint": os.path.abspath(self.checkpoint) if status else self.checkpoint,
            "bytes": status and status.st_size,
            "modified_ns": status and status.st_mtime_ns,
            "recipe": self.recipe,
            "threshold": self.threshold,
            "every": self.every,
            "track": self.track,
            "tiles": self.tiles and [self.tiles.size, self.tiles.overlap],
        }


@dataclass(frozen=True)
class Outcome:
    """How many files there were, and a sentence for each that could not be predicted."""

    files: int
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


def _without_showing(items: Iterable[Any], total: int | None, unit: str) -> Iterable[Any]:
    return items


def run_prediction(job: PredictionJob, progress: Progress = _without_showing) -> Outcome:
    """One process of a job; the outcome of all of them.

    Args:
        progress: is given what this process predicts, how many there are (None if that is unknown) and what they are.

    Raises:
        FileNotFoundError, ValueError: paths without an image, a checkpoint that cannot be used, kinds that its model
            does not predict, or a folder with results of other settings or other files.
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
    kinds = choose_kinds(job.kinds, cast(Sequence[str], predictor.model.tasks), job.checkpoint)
    missing = on_main_process(lambda: _begin(job, files, kinds))
    videos = {name for name in missing if is_video(files[name])}
    images = [name for name in missing if name not in videos]
    failures = [
        *_predict_images(job, predictor, {name: files[name] for name in _share(images)}, kinds, progress),
        *_predict_videos(job, predictor, {name: files[name] for name in _share(sorted(videos))}, kinds, progress),
    ]
    everywhere = sorted(failure for share in all_gather_object(failures) for failure in share)
    return Outcome(len(files), tuple(text for _, text in everywhere))


def _share(names: Sequence[str]) -> list[str]:
    """What this process predicts."""
    return list(names[comm.get_rank() :: comm.get_world_size()])


def _predict_images(
    job: PredictionJob, predictor: Predictor, files: dict[str, Path], kinds: Sequence[Kind], progress: Progress
) -> Iterator[tuple[str, str]]:
    """Write the results of images; the names of those that cannot be predicted, and why."""
    attempts = predictor.attempts(files.values())
    for name, attempt in zip(progress(files, len(files), "images"), attempts):
        if isinstance(attempt, Exception):
            yield name, str(attempt)
            continue
        try:
            for kind in kinds:
                kind.save(attempt, job.out / name)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # a full disk, for example, is one for all images
                raise
            yield name, f"The results of {files[name]} cannot be written, since their names would be too long."


def _predict_videos(
    job: PredictionJob, predictor: Predictor, files: dict[str, Path], kinds: Sequence[Kind], progress: Progress
) -> Iterator[tuple[str, str]]:
    """As `_predict_images`, video after video."""
    for name, path in files.items():
        try:
            total = count_frames(path)
            tracker = ObjectTracker(frame_rate=frame_rate(path)) if job.track else None
            frames = predictor.video(path, job.every, tracker=tracker)
            shown = progress(frames, total and -(-total // job.every), f"frames of {name}")
            save_video(shown, job.out / name, kinds, drawn=job.video)
        except (OSError, ValueError) as error:
            yield name, str(error)


def _begin(job: PredictionJob, files: dict[str, Path], kinds: Sequence[Kind]) -> list[str]:
    """Note what the folder is predicted with; the names of the files whose results are not complete.

    Raises:
        ValueError: it holds results of other settings, which would be taken for those of these, or of other files.
    """
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


def _is_done(job: PredictionJob, name: str, path: Path, kinds: Sequence[Kind]) -> bool:
    """Whether the results of a file are all there, and none is older than the file."""
    start = job.out / name
    results: Iterable[Path] = (
        video_results(start, drawn=job.video) if is_video(path) else chain(*(kind.files(start) for kind in kinds))
    )
    try:
        changed = path.stat().st_mtime_ns
        return all(file.stat().st_mtime_ns >= changed for file in results)
    except OSError:  # one does not exist
        return False

"""One function over many files: in several processes, with a progress bar, and so that a killed run continues."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm import tqdm

from focalnet_d2.utils.atomic_write import UNFINISHED, remove_unfinished
from focalnet_d2.utils.child_processes import end_with_parent

from .files import PngHeader, is_complete_png

_LARGEST_CHUNK = 16

logger = logging.getLogger(__name__)


def run_jobs(function: Callable, jobs: Sequence, *, workers: int, description: str) -> Iterator:
    """Yields `function(job)` in the order of the jobs, and shows the progress on a terminal.

    Args:
        function: of a module's top level, as it travels between processes with every job and result.
        workers: processes; 1 works in this one.

    Raises:
        RuntimeError: a process died.
        Exception: whatever the function raises; jobs not yet begun are dropped.
    """
    with tqdm(total=len(jobs), desc=description, unit=" images", disable=None) as bar:
        for result in _results(function, jobs, min(workers, len(jobs))):
            yield result
            bar.update()


def _results(function: Callable, jobs: Sequence, workers: int) -> Iterator:
    if workers <= 1:
        yield from map(function, jobs)
        return
    pool = ProcessPoolExecutor(workers, initializer=end_with_parent)
    try:
        yield from pool.map(function, jobs, chunksize=max(1, min(_LARGEST_CHUNK, len(jobs) // (4 * workers))))
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A worker process was killed, perhaps for its memory: run the same command again, it continues "
            "where it stopped; fewer --workers need less memory."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def fill_folder(
    folder: Path,
    make: Callable[[tuple[Any, Path]], None],
    sources: Mapping[str, Any],
    headers: Mapping[str, PngHeader],
    *,
    workers: int,
) -> None:
    """Makes the PNG files that a folder lacks; the folder appears when it is complete.

    Args:
        folder: the folder; what is made meanwhile stands in `<folder>.unfinished`, where a killed run continues.
        make: called with (source, path of the file to write).
        sources: what each file is made from, under the name of the file.
        headers: size and kind of each file, by which a complete one is known.
    """
    place = folder if folder.is_dir() else folder.with_name(folder.name + UNFINISHED)
    missing = [name for name in sources if not is_complete_png(place / name, headers[name])]
    if place == folder and not missing:
        logger.info("%s is complete (%d files): nothing to do.", folder, len(sources))
        return
    place.mkdir(parents=True, exist_ok=True)
    jobs = [(sources[name], place / name) for name in missing]
    for _ in run_jobs(make, jobs, workers=workers, description=folder.name):
        pass
    remove_unfinished(place)
    if place != folder:
        place.rename(folder)
    logger.info("%s: %d files made, %d were there.", folder, len(jobs), len(sources) - len(jobs))


class Journal:
    """Results of finished jobs, a line of JSON each, so that a killed run continues.

    A line that was cut off counts as not written. Results under other settings are dropped.

    Args:
        path: file beside the final result, to be deleted when that is written.
        settings: everything besides the source that decides about a result.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.results: dict[str, Any] = {}
        header = json.dumps(settings).encode() + b"\n"
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        if lines[:1] != [header]:
            path.write_bytes(header)
            return
        length = len(header)
        for line in lines[1:]:
            if not line.endswith(b"\n"):
                break
            key, self.results[key] = json.loads(line)
            length += len(line)
        os.truncate(path, length)

    def add(self, key: str, result: Any) -> None:
        """Keeps a result that JSON can say."""
        with open(self.path, "ab") as file:
            file.write(json.dumps([key, result]).encode() + b"\n")
        self.results[key] = result

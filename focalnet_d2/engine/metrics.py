"""`metrics.json`: one line an iteration that was logged or evaluated, also over several starts of a run."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter, get_event_storage

from focalnet_d2.utils.atomic_write import raise_with_file, write_atomically

METRICS = "metrics.json"
EVALUATED = "evaluated_after"  # iterations; in the line with the results
SKIPPED = "skipped_steps"  # up to the iteration of the line, which has no losses if its own was left out
WINDOW = 20  # iterations over which losses are smoothed by their median


class MetricsFile(EventWriter):
    """Appends the new numbers of the event storage to a file of JSON lines, in the format of Detectron2's `JSONWriter`.

    Differs from that: numbers of an iteration that the file has already join its line, and errors name the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0
        self._last = -1  # iteration up to which everything was written

    def begin(self, start: int) -> None:
        """Forget what a run that goes on after `start` iterations will do again.

        The evaluation at the end of a run, which stands in a line of its own, joins the line of the last iteration.
        """
        self._start = start
        if start and self.path.is_file():
            lines = read_metrics(self.path)
            final = [line for line in lines if line["iteration"] == start and not line.keys() & {"total_loss", SKIPPED}]
            kept = [line for line in lines if line["iteration"] < start]
            _write(self.path, [*kept, *({**line, "iteration": start - 1} for line in final)])

    def write(self) -> None:
        """Write what has not been written yet."""
        found = new_numbers(self._last)
        self._last = max([self._last, *found])
        earlier = [line for iteration, line in found.items() if iteration < self._start]
        if earlier:
            _write(self.path, [*(read_metrics(self.path) if self.path.is_file() else []), *earlier])
        for iteration in sorted(found.keys() - {line["iteration"] for line in earlier}):
            self._append(found[iteration])

    def _append(self, line: dict[str, Any]) -> None:
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line, sort_keys=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise_with_file(error, self.path)


def new_numbers(last: int) -> dict[int, dict[str, Any]]:
    """The numbers of the event storage of iterations after `last`, by iteration, which is among them."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(WINDOW).items():
        if iteration > last:
            found[iteration] |= {name: value, "iteration": iteration}
    return dict(found)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; what a killed process has left of its last one is not among them."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("iteration"), int):
            lines.append(line)
    return lines


def is_evaluated(path: Path, iterations: int) -> bool:
    """Whether a metrics file holds results of the weights after so many iterations."""
    return path.is_file() and any(line.get(EVALUATED) == iterations for line in read_metrics(path))


def evaluations(path: Path, metric: str) -> list[int]:
    """After how many iterations a run was evaluated by a metric, ascending; none without a file."""
    lines = read_metrics(path) if path.is_file() else []
    return sorted({line[EVALUATED] for line in lines if EVALUATED in line and metric in line})


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write lines in the order of iterations, those of the same iteration as one."""
    joined: dict[int, dict[str, Any]] = defaultdict(dict)
    for line in lines:
        joined[line["iteration"]] |= line
    text = "".join(json.dumps(joined[iteration], sort_keys=True) + "\n" for iteration in sorted(joined))
    write_atomically(path, text, sync=True)

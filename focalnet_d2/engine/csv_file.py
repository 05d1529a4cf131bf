"""`metrics.csv`: the numbers of `metrics.json` as a table, a row for each iteration."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter

from focalnet_d2.utils.atomic_write import raise_with_file, write_atomically

from .metrics import EVALUATED, new_numbers, read_metrics

CSV = "metrics.csv"
FIRST = ("iteration", EVALUATED)  # columns, in front of all others


class CsvFile(EventWriter):
    """Is called whenever the writer of `metrics.json` was, and makes the table anew where rows do not just follow.

    That is so at each start of a run, when columns appear, and when an iteration that has a row gets further numbers.

    Args:
        path: of the table.
        metrics: path of `metrics.json`.
    """

    def __init__(self, path: Path, metrics: Path) -> None:
        self.path = path
        self.metrics = metrics
        self._columns: list[str] = []
        self._last = -1  # iteration up to which everything was written
        self._last_row = -1

    def begin(self, start: int) -> None:
        """Forget what a run that goes on after `start` iterations will do again, as `metrics.json` has done."""
        self._write_anew()

    def write(self) -> None:
        """Write what has not been written yet."""
        found = new_numbers(self._last)
        if not found:
            return
        self._last = max(found)
        names = {name for line in found.values() for name in line}
        if min(found) > self._last_row and names <= set(self._columns) and self.path.is_file():
            self._append([found[iteration] for iteration in sorted(found)])
        else:
            self._write_anew()

    def _write_anew(self) -> None:
        rows: dict[int, dict[str, Any]] = defaultdict(dict)
        for line in read_metrics(self.metrics) if self.metrics.is_file() else ():
            rows[line["iteration"]] |= line
        names = {name for row in rows.values() for name in row}
        self._columns = [*FIRST, *sorted(names - set(FIRST))]
        self._last_row = max(rows, default=-1)
        text = _text([dict(zip(self._columns, self._columns)), *(rows[key] for key in sorted(rows))], self._columns)
        write_atomically(self.path, text, sync=True)

    def _append(self, rows: Sequence[dict[str, Any]]) -> None:
        self._last_row = rows[-1]["iteration"]
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(_text(rows, self._columns))
        except OSError as error:
            raise_with_file(error, self.path)


def _text(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> str:
    target = io.StringIO()
    csv.DictWriter(target, columns, lineterminator="\n").writerows(rows)
    return target.getvalue()

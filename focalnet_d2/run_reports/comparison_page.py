"""The page that compares runs: settings that differ, curves in one picture, numbers side by side."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from focalnet_d2.reports.line_chart import PALETTE, Line, line_chart
from focalnet_d2.reports.page import figure, html_page, number_cell, table, text_cell
from focalnet_d2.reports.page_style import RUN_SCRIPT, RUN_STYLE
from focalnet_d2.utils.atomic_write import write_atomically

from .curves import Points, Progress, metric_curves, progress_of, series
from .overview import duration, training_seconds
from .page_frame import made, notes, with_sections
from .run_files import RunFiles, read_run
from .settings import differences_between

MOST_RUNS = len(PALETTE)  # of which each has its color
MOST_CLASSES = 200  # in a table
_MAIN = re.compile(r"(AP|AP50|PQ|PQ_th|PQ_st|mIoU|pACC|top1|top5)$")  # metrics that have a picture
_COLUMN_OF_CLASSES = re.compile(r"(AP|PQ|IoU)-")

Runs = Mapping[str, RunFiles]
Numbers = dict[str, list[float | None]]  # by name, of each run


def write_comparison_page(folders: Sequence[str | Path], path: str | Path) -> Path:
    """Write the comparison of runs.

    Raises:
        FileNotFoundError: a folder holds nothing of a run.
        ValueError: too many runs, or one twice.
        OSError: the page cannot be written.
    """
    if len(folders) > MOST_RUNS:
        raise ValueError(f"{len(folders)} runs are too many for one page: compare {MOST_RUNS} at most.")
    resolved = [Path(os.path.expanduser(folder)).resolve() for folder in folders]
    if twice := [folder for place, folder in enumerate(resolved) if folder in resolved[:place]]:
        raise ValueError(f"{twice[0]} is named twice: name each run once.")
    write_atomically(path, comparison_page([read_run(folder) for folder in folders]))
    return Path(path)


def comparison_page(runs: Sequence[RunFiles]) -> str:
    """The comparison as text."""
    named = dict(zip(_names(runs), runs, strict=True))
    sections = made(
        {
            "Runs": lambda: _overview(named),
            "Curves": lambda: _curves(named),
            "Results": lambda: _results(named),
            "Classes": lambda: _classes(named),
            "Settings": lambda: _settings(named),
        }
    )
    title = f"{len(runs)} runs"
    said = [f"{name}: {note}" for name, run in named.items() for note in run.notes]
    head = f"<h1>{title}</h1><p class=path>{escape(', '.join(named))}</p>{notes(said)}"
    return html_page(f"{title}: comparison", with_sections(head, list(sections)), script=RUN_SCRIPT, style=RUN_STYLE)


def _names(runs: Sequence[RunFiles]) -> list[str]:
    """The names of the folders, with as much of their paths as it takes to tell them apart."""
    parts = [run.folder.absolute().parts for run in runs]
    depth = 1
    while len({one[-depth:] for one in parts}) < len(parts) and depth < max(map(len, parts)):
        depth += 1
    return ["/".join(one[-depth:]) for one in parts]


def _overview(runs: Runs) -> str:
    rows = [
        (
            f"<td><i style='background:{PALETTE[place]}'></i>{escape(name)}</td>",
            text_cell(run.identity.recipe if run.identity else "–"),
            number_cell(run.iterations),
            number_cell(run.setting("max_iter") if isinstance(run.setting("max_iter"), int) else None),
            text_cell(str(run.best.get("metric", "–"))),
            number_cell(_number(run.best.get("value"))),
            text_cell(duration(training_seconds(run))),
        )
        for place, (name, run) in enumerate(runs.items())
    ]
    return table(("run", "recipe", "iterations", "of", "best by", "value", "in steps"), rows)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _curves(runs: Runs) -> str:
    """One picture for each loss, metric and rate, with a line for each run."""
    progress = [progress_of(run) for run in runs.values()]
    if len({one.title for one in progress}) > 1:  # some count epochs, some do not
        progress = [Progress("iterations", 1)] * len(runs)
    of_each = list(zip(runs, runs.values(), progress))
    pictures = [
        _picture(title, {name: series(run, unit, keys) for name, run, unit in of_each}, progress[0], y_title, log=log)
        for title, keys, y_title, log in (
            ("Total loss", ["total_loss", "validation/total_loss"], "loss", True),
            ("Learning rate", ["lr"], "rate", False),
            ("Seconds an iteration", ["time"], "seconds", False),
        )
    ]
    metrics = {name: metric_curves(run, unit, lambda name: bool(_MAIN.match(name))) for name, run, unit in of_each}
    keys = dict.fromkeys((task, metric) for tasks in metrics.values() for task in tasks for metric in tasks[task])
    for task, metric in keys:
        curves = {name: {metric: tasks.get(task, {}).get(metric, [])} for name, tasks in metrics.items()}
        pictures.append(_picture(f"{task}/{metric}", curves, progress[0], "percent"))
    shown = [picture for picture in pictures if picture]
    return f"<div class=charts>{''.join(shown)}</div>" if shown else "<p class=note>No run has numbers yet.</p>"


def _picture(
    title: str, curves: Mapping[str, Mapping[str, Points]], progress: Progress, y_title: str, *, log: bool = False
) -> str:
    """Lines of all runs; what is not the first kind of a run is dashed."""
    lines = [
        Line(name if kind == 0 else f"{name}, validation", points, PALETTE[place], dashed=kind > 0)
        for place, (name, kinds) in enumerate(curves.items())
        for kind, points in enumerate(kinds.values())
        if points
    ]
    if not lines:
        return ""
    end = max(x for line in lines for x, _ in line.points)
    highest = max(y for line in lines for _, y in line.points)
    from_zero = (0.0, 1.05 * highest or 1.0) if not log else None
    chart = line_chart(
        lines, x_title=progress.title, y_title=y_title, log=log, x_range=(0, end or 1), y_range=from_zero
    )
    return figure(title, chart)


def _results(runs: Runs) -> str:
    """The last numbers of all runs; the best of each row is bold, the others have their distance from the first run."""
    last = _side_by_side({name: _flat(run.results) for name, run in runs.items()})
    main = {name: values for name, values in last.items() if "-" not in name}
    if not main:
        return "<p class=note>No run has an evaluation yet.</p>"
    rows = [(text_cell(name), *_compared(values)) for name, values in main.items()]
    note = "<p class=note>Numbers of the last evaluation, in percent; in brackets the distance from the first run.</p>"
    return note + table(("metric", *runs), rows)


def _flat(results: Mapping[str, Mapping[str, float | None]]) -> dict[str, float | None]:
    return {f"{task}/{name}": value for task, numbers in results.items() for name, value in numbers.items()}


def _side_by_side(columns: Mapping[str, Mapping[str, float | None]]) -> Numbers:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return {name: [column.get(name) for column in columns.values()] for name in names}


def _compared(values: Sequence[float | None]) -> Iterator[str]:
    """Cells of one row."""
    known = [value for value in values if value is not None]
    first = values[0]
    for place, value in enumerate(values):
        if value is None:
            yield number_cell(None)
            continue
        best = "best" if len(known) > 1 and value == max(known) > min(known) else ""
        distance = ""
        if place and first is not None:
            kind = "better" if value > first else "worse" if value < first else ""
            distance = f" <small class='{kind}'>({value - first:+.2f})</small>"
        yield number_cell(float(value), kind=best, more=distance)


def _classes(runs: Runs) -> str:
    """The numbers of single classes, those that differ most first."""
    numbers = _side_by_side({name: _flat(run.results) for name, run in runs.items()})
    of_classes = {name: values for name, values in numbers.items() if _COLUMN_OF_CLASSES.match(name.partition("/")[2])}
    if not of_classes:
        return ""

    def distance(values: Sequence[float | None]) -> float:
        known = [value for value in values if value is not None]
        return max(known) - min(known) if known else 0.0

    order = sorted(of_classes.items(), key=lambda item: -distance(item[1]))[:MOST_CLASSES]
    rows = [(text_cell(name.replace("-", " ", 1)), *_compared(values)) for name, values in order]
    left_out = len(of_classes) - len(order)
    note = f"<p class=note>{left_out} more classes differ less.</p>" if left_out else ""
    return table(("class", *runs), rows, is_sorted=True) + note


def _settings(runs: Runs) -> str:
    rows = [(text_cell(row.key), *map(text_cell, row.values)) for row in differences_between(list(runs.values()))]
    if not rows:
        return "<p class=note>No setting differs.</p>"
    return table(("setting", *runs), rows, kind="plain")

"""The sections of a report that every run has: state and main numbers, curves, results, settings, surroundings."""

from collections.abc import Iterator
from datetime import datetime, timezone
from html import escape
from typing import Any

from focalnet_d2.engine.environment import ENVIRONMENT
from focalnet_d2.engine.metrics import EVALUATED, METRICS
from focalnet_d2.reports.line_chart import Line, line_chart
from focalnet_d2.reports.page import figure, number_cell, table, text_cell, tiles

from .curves import CurveGroup, Progress, curve_colors, curve_groups, progress_of
from .page_frame import notes
from .run_files import RunFiles, task_metrics
from .settings import differences_from_shipped

MOST_CURVES = 10  # in a picture


def head(run: RunFiles) -> str:
    """Name and state of the run, and its main numbers."""
    place = f"<p class=path>{escape(str(run.folder.absolute()))}</p>"
    state = f"<p class=verdict>{escape(_state(run))}</p>"
    return f"<h1>{escape(run.name)}</h1>{place}{tiles(_main_numbers(run))}{state}{notes(run.notes)}"


def _main_numbers(run: RunFiles) -> Iterator[tuple[str, str, str]]:
    metric, value = run.best.get("metric"), run.best.get("value")
    if isinstance(metric, str) and isinstance(value, int | float):
        yield f"{value:.2f}", f"best {metric}", "good"
    watched = metric or run.setting("best_metric") or ""
    task, _, name = str(watched).partition("/")
    final = run.results.get(task, {}).get(name)
    if final is not None:
        yield f"{final:.2f}", f"last {watched}", ""
    total = run.setting("max_iter")
    yield f"{run.iterations:,}", f"of {total:,} iterations" if isinstance(total, int) else "iterations", ""
    if seconds := training_seconds(run):
        yield duration(seconds), "in training steps", ""
    for name, mebibytes in _memory(run).items():
        yield f"{mebibytes / 1024:.1f} GiB", f"peak memory of the {name}", ""


def training_seconds(run: RunFiles) -> float:
    """How long the steps have taken, from the time of an iteration in the logged lines."""
    seconds, before = 0.0, 0
    for line in run.lines:
        if isinstance(line.get("time"), int | float):
            seconds += line["time"] * (line["iteration"] + 1 - before)
            before = line["iteration"] + 1
    return seconds


def duration(seconds: float) -> str:
    """`1:02:03`, or `12 s`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02} min"


def _memory(run: RunFiles) -> dict[str, float]:
    found = (run.environment.get("ended") or {}).get("peak_memory_mib") or {}
    return {str(name): float(value) for name, value in found.items() if isinstance(value, int | float)}


def _state(run: RunFiles) -> str:
    total = run.setting("max_iter")
    if not run.lines:
        return f"There is no line in {METRICS} yet."
    if run.ended_early:
        return f"The training ended early, after {run.iterations:,} iterations: nothing was better any more."
    if not isinstance(total, int) or run.iterations >= total:
        return "The training is complete." if isinstance(total, int) else "It is not known how long the run was to be."
    last = datetime.fromtimestamp((run.folder / METRICS).stat().st_mtime, timezone.utc)
    return (
        f"The training is not complete: {run.iterations:,} of {total:,} iterations, the last line was written at "
        f"{last:%Y-%m-%d %H:%M} UTC."
    )


def curves(run: RunFiles) -> str:
    """Pictures of all that `metrics.json` has."""
    progress = progress_of(run)
    best = run.best.get("iteration")
    mark = progress.of(best) if isinstance(best, int | float) else None
    pictures = [curve_picture(group, progress, mark) for group in curve_groups(run, progress)]
    if not pictures:
        return f"<p class=note>{METRICS} has no numbers yet.</p>"
    note = "" if mark is None else "<p class=note>The dashed vertical line is where the best checkpoint was saved.</p>"
    return f"<div class=charts>{''.join(pictures)}</div>{note}"


def curve_picture(group: CurveGroup, progress: Progress, mark: float | None = None) -> str:
    """One picture; of very many curves the first ones."""
    colors = curve_colors(list(group.curves))
    shown = list(group.curves.items())[:MOST_CURVES]
    lines = [Line(name, points, *colors[name]) for name, points in shown]
    left_out = len(group.curves) - len(shown)
    note = f"{left_out} more curves are in {METRICS}." if left_out else ""
    end = max((x for points in group.curves.values() for x, _ in points), default=1)
    highest = max((y for points in group.curves.values() for _, y in points), default=1) if group.from_zero else 0
    chart = line_chart(
        lines,
        x_title=progress.title,
        y_title=group.y_title,
        log=group.log,
        x_range=(0, end),
        y_range=(0, 1.05 * highest or 1) if group.from_zero else None,
        mark=mark,
    )
    return figure(group.title, chart, note)


def results(run: RunFiles) -> str:
    """The main numbers of each task, last and at the best checkpoint; those of classes have a table of their own."""
    best = _best_line(run)
    parts = []
    for task, numbers in run.results.items():
        rows = [
            (text_cell(name), number_cell(value), number_cell(best.get(task, {}).get(name)))
            for name, value in numbers.items()
            if "-" not in name
        ]
        heads = (task, "last", "best checkpoint")
        parts.append(table(heads, rows, kind="narrow"))
    if not parts:
        return "<p class=note>There is no evaluation yet.</p>"
    return f"<div class=columns>{''.join(parts)}</div><p class=note>All in percent; – is not defined by the data.</p>"


def _best_line(run: RunFiles) -> dict[str, dict[str, float | None]]:
    lines = [line for line in run.evaluations() if line[EVALUATED] == run.best.get("iteration")]
    return task_metrics(lines[-1]) if lines else {}


def class_results(run: RunFiles) -> str:
    """A table of all classes, with each number that an evaluation gives for them."""
    columns: dict[str, dict[str, float | None]] = {}
    for task, numbers in run.results.items():
        for name, value in numbers.items():
            metric, dash, class_name = name.partition("-")
            if dash:
                columns.setdefault(f"{task} {metric}", {})[class_name] = value
    if not columns:
        return ""
    classes = list(dict.fromkeys(name for column in columns.values() for name in column))
    objects = _objects(run)
    rows = [
        (
            text_cell(name),
            *(number_cell(counts.get(name)) for counts in objects.values()),
            *(number_cell(column.get(name)) for column in columns.values()),
        )
        for name in classes
    ]
    heads = ["class", *(f"objects in {part}" for part in objects), *columns]
    return table(heads, rows, kind="narrow" if len(heads) < 5 else "", is_sorted=True)


def _objects(run: RunFiles) -> dict[str, dict[str, int]]:
    """How many objects of each class both parts have."""
    parts = run.environment.get("data") or {}
    return {part: numbers["classes"] for part, numbers in parts.items() if isinstance(numbers.get("classes"), dict)}


def data(run: RunFiles) -> str:
    """How many images, objects and classes there are."""
    parts = run.environment.get("data") or {}
    if not parts:
        return f"<p class=note>The run has no {ENVIRONMENT}, which later versions write at its start.</p>"
    names = {"train": "to learn from", "test": "to score"}
    rows = [
        (
            text_cell(names.get(part, str(part))),
            *(number_cell(numbers.get(key)) for key in ("images", "objects")),
            number_cell(len(numbers["classes"]) if isinstance(numbers.get("classes"), dict) else None),
        )
        for part, numbers in parts.items()
    ]
    return table(("images", "number", "objects", "classes"), rows, kind="narrow")


def settings(run: RunFiles) -> str:
    """Settings that differ from the recipe as it is shipped."""
    rows, what = differences_from_shipped(run)
    note = f"<p class=note>{escape(what[0].upper() + what[1:])}.</p>"
    if not rows:
        return f"{note}<p class=note>No setting differs.</p>"
    cells = [
        (
            text_cell(row.key),
            *map(text_cell, row.values),
            f"<td class=kind>{'typed' if row.typed else 'from the data'}</td>",
        )
        for row in rows
    ]
    return note + table(("setting", "shipped", "this run", ""), cells, kind="plain")


def environment(run: RunFiles) -> str:
    """With what the run was started, each time."""
    starts = [start for start in run.environment.get("starts") or () if isinstance(start, dict)]
    if not starts:
        return f"<p class=note>The run has no {ENVIRONMENT}, which later versions write at its start.</p>"
    rows = {f"start {number}": _start(start) for number, start in enumerate(starts, 1)}
    keys = list(dict.fromkeys(key for one in rows.values() for key in one))
    same = [key for key in keys if len({one.get(key) for one in rows.values()}) == 1 and len(rows) > 1]
    cells = [
        (text_cell(key), f"<td colspan={len(rows)}>{escape(next(iter(rows.values()))[key])}</td>")
        if key in same
        else (text_cell(key), *(text_cell(one.get(key, "–")) for one in rows.values()))
        for key in keys
    ]
    if isinstance(ended := run.environment.get("ended"), dict):
        cells.append((text_cell("ended"), f"<td colspan={len(rows)}>{escape(str(ended.get('time', '')))}</td>"))
    return table(("", *rows) if len(rows) > 1 else (), cells, kind="plain")


def _start(start: dict[str, Any]) -> dict[str, str]:
    """One start as texts."""
    flat = {"time": start.get("time"), "after iterations": start.get("iteration")}
    flat |= {key: start.get(key) for key in ("device", "threads", "system")}
    flat |= {f"commit of {key}": value for key, value in (start.get("git") or {}).items()}
    flat |= dict(start.get("versions") or {})
    return {key: str(value) for key, value in flat.items() if value is not None}

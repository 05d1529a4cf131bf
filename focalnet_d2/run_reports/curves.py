"""The curves of a run: losses, metrics, rates and times over iterations, or over epochs where those are set."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from focalnet_d2.engine.metrics import EVALUATED
from focalnet_d2.reports.line_chart import PALETTE

from .run_files import RunFiles, task_metrics

VALIDATION = "validation/"
Points = list[tuple[float, float]]
_OF_OTHER_LAYERS = re.compile(r"_(\d+|dn|enc|aux)(_\d+)?$|_dn_")
_SMALL = re.compile(r"-|^AR|^[SR]Q_")  # numbers of single classes, and parts of others


@dataclass(frozen=True)
class CurveGroup:
    """Curves that belong in one picture.

    Attributes:
        title: of the picture.
        curves: points by name; y_title: what they are.
        log: whether factors of ten suit them.
        from_zero: whether the axis begins at 0.
    """

    title: str
    curves: Mapping[str, Points]
    y_title: str
    log: bool = False
    from_zero: bool = False


@dataclass(frozen=True)
class Progress:
    """How iterations are counted in a picture."""

    title: str
    per_unit: float

    def of(self, iterations: float) -> float:
        """The place of a number of iterations."""
        return iterations / self.per_unit


def progress_of(run: RunFiles) -> Progress:
    """Epochs where the run counts those, else iterations."""
    epochs, total = run.setting("epochs"), run.setting("max_iter")
    if isinstance(epochs, int | float) and epochs > 0 and isinstance(total, int) and total > 0:
        return Progress("epochs", total / epochs)
    return Progress("iterations", 1)


def curve_groups(run: RunFiles, progress: Progress) -> Iterator[CurveGroup]:
    """All pictures of a run that have a curve."""
    names = list(dict.fromkeys(name for line in run.lines for name in line))
    losses = [name for name in names if name.removeprefix(VALIDATION).startswith("loss_")]
    parts = [name for name in losses if not _OF_OTHER_LAYERS.search(name)]
    total = [name for name in names if name.removeprefix(VALIDATION) == "total_loss"]
    one = CurveGroup
    groups = [
        one("Total loss", series(run, progress, total), "loss", log=True),
        one(
            "Losses" if len(parts) == len(losses) else "Losses of the last layer",
            series(run, progress, parts),
            "loss",
            log=True,
        ),
        *(one(task, points, "percent", from_zero=True) for task, points in metric_curves(run, progress).items()),
        one("Learning rate", series(run, progress, [name for name in names if re.match(r"lr($|[/_])", name)]), "rate"),
        one("Gradient norm", series(run, progress, ["grad_norm"]), "norm", log=True),
        one("Seconds an iteration", series(run, progress, ["time", "data_time"]), "seconds", from_zero=True),
        one("Memory", series(run, progress, [name for name in names if "memory" in name]), "MiB"),
    ]
    return (group for group in groups if group.curves)


def series(run: RunFiles, progress: Progress, names: Sequence[str]) -> dict[str, Points]:
    """What `metrics.json` has under some names, those without a number left out."""
    found = {
        name: [
            (progress.of(line["iteration"] + 1), float(line[name]))
            for line in run.lines
            if isinstance(line.get(name), int | float)
        ]
        for name in names
    }
    return {name: points for name, points in found.items() if points}


def metric_curves(
    run: RunFiles, progress: Progress, is_wanted: Callable[[str], bool] = lambda name: not _SMALL.search(name)
) -> dict[str, dict[str, Points]]:
    """Metrics after each evaluation, by task and name."""
    found: dict[str, dict[str, Points]] = {}
    for line in run.evaluations():
        for task, numbers in task_metrics(line).items():
            for name, value in numbers.items():
                if value is not None and is_wanted(name):
                    points = found.setdefault(task, {}).setdefault(name, [])
                    points.append((progress.of(float(line[EVALUATED])), value))
    return {task: _in_order(curves, run.results.get(task, {})) for task, curves in found.items()}


def _in_order(curves: dict[str, Points], names: Mapping[str, object]) -> dict[str, Points]:
    """In the order of an evaluation; `metrics.json` is sorted."""
    return {name: curves[name] for name in [*names, *curves] if name in curves}


def curve_colors(names: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Color of each curve, and whether it is dashed: a validation loss has the color of the loss."""
    bases = list(dict.fromkeys(name.removeprefix(VALIDATION) for name in names))
    colors = {base: PALETTE[index % len(PALETTE)] for index, base in enumerate(bases)}
    return {name: (colors[name.removeprefix(VALIDATION)], name.startswith(VALIDATION)) for name in names}

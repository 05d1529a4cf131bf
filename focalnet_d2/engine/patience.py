"""When a run ends early: after `train.patience` evaluations in a row that were not better than the best one.

What a run has waited already stands in `metrics.json` alone, so that a run that goes on ends where it would have ended.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.utils.text import plural

from .checkpointing import BEST_WEIGHTS, FINAL, last_name, read_best
from .metrics import METRICS, evaluations
from .timetable import Timetable

STOPPED = "stopped_early_after"  # iterations; in the line of metrics.json with the last results


def check_patience(train: DictConfig, timetable: Timetable) -> None:
    """Raise `RecipeError` if a run is to end early, but is evaluated only at its end."""
    period = timetable.eval_period
    if train.get("patience") and not 0 < period < timetable.max_iter:
        raise RecipeError(
            f"train.patience={train.patience} counts evaluations, and this run of {timetable.max_iter} iterations has "
            "none before its end: set train.eval_epochs=1, or train.eval_period to some iterations."
        )


def waited(folder: Path, metric: str, best: dict[str, Any] | None, done: int) -> int:
    """Evaluations in a row, up to `done` iterations, that were not better than the best one.

    Args:
        folder: of the run.
        metric: the watched one.
        best: what `read_best` gives.
    """
    if best is not None and best["metric"] != metric:  # from now on another one is watched
        return 0
    since = 0 if best is None else best["iteration"]
    return sum(since < after <= done for after in evaluations(folder / METRICS, metric))


def why_ended(folder: Path, train: DictConfig, done: int) -> str:
    """What to say about a run that has ended early and is to go on; "" if there is nothing in its way.

    Args:
        train: settings of the group, with which it is to go on.
        done: iterations of its last checkpoint.
    """
    patience, best = train.get("patience", 0), read_best(folder, done)
    if not patience or last_name(folder) != FINAL:
        return ""
    count = waited(folder, train.best_metric, best, done)
    if count < patience:
        return ""
    return (
        f"The run in {folder} ended early after {done} of {train.max_iter} iterations: nothing better in "
        f"{plural(count, 'evaluation')}{described_best(folder, best)}. To train on, raise train.patience={patience} "
        f"above {count}, or set train.patience=0."
    )


def described_best(folder: Path, best: dict[str, Any] | None) -> str:
    """` than the bbox/AP 51.2 after 64 iterations (FOLDER/model_best.pth)`; "" where there is none."""
    if best is None:
        return ""
    return (
        f" than the {best['metric']} {best['value']:.4g} after {best['iteration']} iterations ({folder / BEST_WEIGHTS})"
    )

"""What the folder of a run holds, as far as it can be read: a report is also wanted of a run that was killed."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from focalnet_d2.config.lazy import recipe_from_yaml
from focalnet_d2.config.recipe_files import RUN_RECIPE
from focalnet_d2.engine.checkpointing import BEST
from focalnet_d2.engine.environment import ENVIRONMENT
from focalnet_d2.engine.metrics import EVALUATED, METRICS, read_metrics
from focalnet_d2.engine.patience import STOPPED
from focalnet_d2.engine.run_folder import RUN_FILE, RunIdentity, read_identity
from focalnet_d2.evaluation.report import RESULTS

Value = TypeVar("Value")


@dataclass
class RunFiles:
    """The files of a run.

    Attributes:
        folder: where they are.
        identity: the recipe and the settings with which the run was started; None for one of 0.1.0.
        recipe: with all its settings; None where it cannot be read.
        lines: of `metrics.json`, by rising iteration.
        results: of the last evaluation, by task; None where a number is not defined.
        best: metric, value and iteration of the best checkpoint.
        environment: of `environment.json`.
        notes: sentences about files that cannot be read.
    """

    folder: Path
    identity: RunIdentity | None = None
    recipe: DictConfig | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, dict[str, float | None]] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.absolute().name

    def setting(self, key: str) -> Any:
        """A setting of the group `train`; None where it is not known."""
        return None if self.recipe is None else self.recipe.train.get(key)

    @property
    def iterations(self) -> int:
        """How many are known to be done."""
        return max((int(line.get(EVALUATED) or line["iteration"] + 1) for line in self.lines), default=0)

    @property
    def ended_early(self) -> bool:
        """Whether the last line says that the metric was no longer better (`train.patience`)."""
        return bool(self.lines) and self.lines[-1].get(STOPPED) == self.iterations

    def written(self, name: str) -> dict[str, Any] | None:
        """What the last evaluation has written into a JSON file; None where there is none.

        Raises:
            OSError, ValueError: it cannot be read, or holds no JSON object.
        """
        path = self.folder / name
        return _json_object(path) if path.is_file() else None

    def evaluations(self) -> list[dict[str, Any]]:
        """The lines that have results; `EVALUATED` of each says after how many iterations."""
        found = []
        for line in self.lines:
            if EVALUATED in line:
                found.append(line)
            elif any(_is_result(name) for name in line):  # of 0.1.0
                found.append({**line, EVALUATED: line["iteration"] + ("total_loss" in line)})
        return found


def read_run(folder: str | Path) -> RunFiles:
    """Read the folder of a run; what cannot be read becomes a note.

    Raises:
        FileNotFoundError: nothing there is of a run.
    """
    folder = Path(os.path.expanduser(folder))
    if not any((folder / name).is_file() for name in (RUN_FILE, METRICS, RESULTS, RUN_RECIPE)):
        raise FileNotFoundError(
            f"{folder} is no folder of a run: it has no {METRICS}, {RUN_RECIPE} or {RESULTS}. Name the folder that a "
            "training has as train.output_dir."
        )
    run = RunFiles(folder)
    run.identity = _read(run, folder / RUN_FILE, lambda path: read_identity(path.parent), None)
    run.recipe = _read(run, folder / RUN_RECIPE, _recipe, None)
    run.lines = _read(run, folder / METRICS, _lines, [])
    run.results = _read(run, folder / RESULTS, _results, {})
    run.best = _read(run, folder / BEST, _json_object, {})
    run.environment = _read(run, folder / ENVIRONMENT, _json_object, {})
    return run


def task_metrics(line: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The results that a line of `metrics.json` has, by task; None for what is not defined."""
    results: dict[str, dict[str, float | None]] = {}
    for name, value in line.items():
        if _is_result(name):
            task, _, metric = name.partition("/")
            results.setdefault(task, {})[metric] = value if _is_number(value) and value == value else None
    return results


def _is_result(name: str) -> bool:
    task, slash, _ = name.partition("/")
    return bool(slash) and (task in ("bbox", "segm", "classification") or task.startswith(("panoptic_seg", "sem_seg")))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(run: RunFiles, path: Path, read: Callable[[Path], Value], otherwise: Value) -> Value:
    """What a file holds; `otherwise` where there is none, or with a note where it cannot be read."""
    if not path.is_file():
        return otherwise
    try:
        return read(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        run.notes.append(f"{path.name} cannot be used: {error}")
        return otherwise


def _recipe(path: Path) -> DictConfig:
    recipe = recipe_from_yaml(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(recipe.get("train"), DictConfig):
        raise ValueError("it has no group train.")
    return recipe


def _lines(path: Path) -> list[dict[str, Any]]:
    return sorted(read_metrics(path), key=lambda line: line["iteration"])


def _json_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it holds no JSON object.")
    return content


def _results(path: Path) -> dict[str, dict[str, float | None]]:
    return {
        str(task): {name: value for name, value in numbers.items() if value is None or _is_number(value)}
        for task, numbers in _json_object(path).items()
        if isinstance(numbers, dict)
    }

"""Experiment trackers as writers of a run: Weights & Biases and MLflow.

Both packages are imported when a training begins. Addresses and accounts come from their own environment variables and
files (`WANDB_MODE`, `WANDB_PROJECT`, `MLFLOW_TRACKING_URI`, ...). What fails later ends no run.
"""

import importlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.utils.events import EventWriter

from focalnet_d2.config.nodes import leaves
from focalnet_d2.utils.atomic_write import write_atomically

from .metrics import new_numbers

PROJECT = "focalnet-d2"  # unless the environment names another
TRACKED = "tracked.json"  # ids that a tracker gave to the run in this folder
_LONGEST_VALUE = 500  # characters that every MLflow server takes

logger = logging.getLogger(__name__)


class Tracker(EventWriter):
    """Sends new numbers of the event storage; what could not be sent is sent with those that come next.

    Args:
        folder: of the run, which gives the name.
        run: id of the run (`run_folder.py`), or "".
        settings: the recipe as plain groups, lists and values.
    """

    package = ""

    def __init__(self, folder: Path, run: str, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.run = run
        self.settings = settings
        self.is_complete = False  # whether the training is, when it is closed
        self._library: Any = None
        self._last = -1
        self._waiting: dict[int, dict[str, float]] = defaultdict(dict)
        self._is_failing = False

    def begin(self, start: int) -> None:
        """Start the run there, or go on with it.

        Raises:
            ValueError: the tracker refuses.
        """
        try:
            self._library = importlib.import_module(self.package)
            self._start(start)
        except Exception as error:
            raise ValueError(
                f"train.loggers has {self.package}, which does not start: {error} Mend that, or take it out of "
                f"train.loggers."
            ) from error

    def write(self) -> None:
        """Send what has not been sent yet; a failure is a warning."""
        for iteration, numbers in new_numbers(self._last).items():
            self._last = max(self._last, iteration)
            self._waiting[iteration] |= {name: value for name, value in numbers.items() if name != "iteration"}
        try:
            for iteration in sorted(self._waiting):
                self._send(iteration, self._waiting[iteration])
                del self._waiting[iteration]
            self._is_failing = False
        except Exception as error:  # of a network, a server, or the package
            if not self._is_failing:
                logger.warning("%s does not take the numbers, which it will get later: %s", self.package, error)
            self._is_failing = True

    def close(self) -> None:
        """End the run there; a failure is a warning."""
        try:
            self._end()
        except Exception as error:
            logger.warning("%s does not end the run: %s", self.package, error)

    def _start(self, start: int) -> None:
        raise NotImplementedError

    def _send(self, iteration: int, numbers: Mapping[str, float]) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


class WandbLogger(Tracker):
    """Weights & Biases; its run has the id of the run in the folder.

    The x axis is `iteration`, since a run that goes on repeats iterations and W&B's own steps only rise.
    """

    package = "wandb"

    def _start(self, start: int) -> None:
        self._run = self._library.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=self.folder.absolute().name,
            id=self.run or None,
            resume="allow",
            dir=str(self.folder),
            config=dict(self.settings),
            allow_val_change=True,
        )
        self._run.define_metric("iteration")
        self._run.define_metric("*", step_metric="iteration")

    def _send(self, iteration: int, numbers: Mapping[str, float]) -> None:
        self._run.log({**numbers, "iteration": iteration})

    def _end(self) -> None:
        self._run.finish(exit_code=0 if self.is_complete else 1)


class MlflowLogger(Tracker):
    """MLflow; the id that it gave to the run is kept in the run's folder."""

    package = "mlflow"

    def _start(self, start: int) -> None:
        known = self._known_id()
        if known is None and not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & set(os.environ):
            self._library.set_experiment(PROJECT)
        name = self.folder.absolute().name
        started = self._library.start_run(run_id=known) if known else self._library.start_run(run_name=name)
        if known is None:  # MLflow refuses to change parameters
            content = {"run": self.run, self.package: started.info.run_id}
            write_atomically(self.folder / TRACKED, json.dumps(content, indent=1) + "\n")
            values = {_mlflow_name(key): str(value)[:_LONGEST_VALUE] for key, value in leaves(self.settings)}
            self._library.log_params(values)

    def _known_id(self) -> str | None:
        """The id of the run there, if the file of the folder is this run's."""
        try:
            content = json.loads((self.folder / TRACKED).read_text(encoding="utf-8"))
            return content[self.package] if content["run"] == self.run else None
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.folder / TRACKED} is damaged ({error!r}): remove it.") from error

    def _send(self, iteration: int, numbers: Mapping[str, float]) -> None:
        self._library.log_metrics({_mlflow_name(name): value for name, value in numbers.items()}, step=iteration)

    def _end(self) -> None:
        self._library.end_run("FINISHED" if self.is_complete else "KILLED")


def _mlflow_name(name: str) -> str:
    """A name with the characters that MLflow takes, without those that it reads as parts of a path."""
    return re.sub(r"[^\w\-. /]", "_", name).strip("/. ")

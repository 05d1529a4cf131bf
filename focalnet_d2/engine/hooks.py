"""Hooks of a run: averaged weights, evaluation, best and periodic checkpoints, writers of numbers."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import torch
from detectron2.engine import HookBase
from detectron2.engine.hooks import PeriodicWriter
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from detectron2.utils.events import EventWriter
from torch import Tensor, nn

from focalnet_d2.utils.text import plural

from .checkpointing import BEST_WEIGHTS, FINAL, RunState, periodic_checkpoints, periodic_name, save_best, save_run
from .csv_file import CsvFile
from .distributed import all_gather_object, on_main_process
from .metrics import EVALUATED, MetricsFile
from .patience import STOPPED, described_best, waited
from .sharding import local_shard
from .timetable import is_due
from .trackers import Tracker
from .trainer import Trainer
from .watched_metric import is_better

logger = logging.getLogger(__name__)


class EMAHook(HookBase):
    """Exponential moving average of parameters and floating-point buffers (EMA).

    After each iteration: average = decay * average + (1 - decay) * weight. Integer buffers are copied.

    Args:
        model: without a distributed wrapper; the average starts at its present weights.
        decay: share of the old average that is kept.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9997) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"train.ema.decay is {decay}: it must be at least 0 and below 1.")
        self.model = model
        self.decay = decay
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def after_step(self) -> None:
        """Update the average, unless the step was left out."""
        if not cast(Trainer, self.trainer).skipped:
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights."""
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                local_shard(self.average[name]).lerp_(local_shard(value), 1 - self.decay)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The model has the averaged weights inside and its own afterwards."""
        own = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights by the model's names, each of its shape."""
        return dict(self.average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over averaged weights by the model's names, each of its shape."""
        for name, value in self.average.items():
            value.copy_(state[name])


class Evaluation(HookBase):
    """Calls `evaluate()` every `period` iterations (0: never) and after the last one; results go to the metrics.

    Args:
        evaluate: returns `{task: {metric: value}}`, on the main process; must leave the model as it was.
        period: iterations between evaluations, a fraction where epochs end within a batch.
        was_interrupted: the iteration with which the run goes on has a checkpoint and was perhaps not evaluated.
    """

    trainer: Trainer

    def __init__(
        self, evaluate: Callable[[], dict[str, Any]], period: Fraction | int, *, was_interrupted: bool = False
    ) -> None:
        self.evaluate = evaluate
        self.period = period
        self.was_interrupted = was_interrupted
        self.results: dict[str, Any] = {}
        self.last = -1  # iteration of the last evaluation

    def before_train(self) -> None:
        """Make up for an evaluation that a killed run did not finish; its numbers belong to the iteration before."""
        done = self.trainer.start_iter
        if self.was_interrupted and 0 < done < self.trainer.max_iter and is_due(done, self.period):
            self.trainer.storage.iter = done - 1
            self.run()
            self.trainer.storage.iter = done

    def after_step(self) -> None:
        """Evaluate when a period is complete; the last iteration is left to `after_train`."""
        done = self.trainer.iter + 1
        is_now = done < self.trainer.max_iter and is_due(done, self.period)
        if is_now and not self.trainer.stop_signal:  # else the resumed run makes up for it
            self.run()

    def after_train(self) -> None:
        """Evaluate the final weights, unless the training failed or ended with an evaluation."""
        if self.trainer.iter >= self.trainer.max_iter and not self.trainer.ends_early:
            self.run()

    def run(self) -> None:
        """Evaluate now; all ranks get the results, so that they agree on what follows from them."""
        self.results = all_gather_object(self.evaluate())[0]
        numbers = {k: v for k, v in flatten_results_dict(self.results).items() if isinstance(v, int | float)}
        storage = self.trainer.storage
        self.last = storage.iter
        is_after_the_end = storage.iter >= self.trainer.max_iter
        numbers[EVALUATED] = storage.iter if is_after_the_end else storage.iter + 1
        storage.put_scalars(**numbers, smoothing_hint=False)


class BestCheckpoint(HookBase):
    """Saves the weights whenever the watched metric is better than ever; stands after `Evaluation` in the hooks.

    Args:
        evaluation: whose results are watched.
        metric: for example `bbox/AP`.
        state: knows the best value so far.
        folder: of the checkpoints, and of `metrics.json`.
        patience: so many results in a row that are not better end the training; 0 = none do.
    """

    trainer: Trainer

    def __init__(
        self, evaluation: Evaluation, metric: str, state: RunState, folder: Path, *, patience: int = 0
    ) -> None:
        self.evaluation = evaluation
        self.metric = metric
        self.state = state
        self.folder = folder
        self.patience = patience
        self.waited = 0  # results in a row that were not better
        self._warned = False

    def before_train(self) -> None:
        """Take up the wait of a run that goes on, and look at the results of an evaluation that was made up for."""
        done = self.trainer.start_iter
        if self.patience and done:
            self.waited = on_main_process(lambda: waited(self.folder, self.metric, self.state.best, done))
        self.check(done)
        self._end_after(done)

    def after_step(self) -> None:
        """Look at new results, and end the training if they have long not been better."""
        done = self.trainer.iter + 1
        self.check(done)
        self._end_after(done)

    def after_train(self) -> None:
        """Look at the results of the final evaluation."""
        self.check(min(self.trainer.iter, self.trainer.max_iter))

    def check(self, iteration: int) -> None:
        """Save if there are new results and they are the best."""
        results, self.evaluation.results = self.evaluation.results, {}
        if not results:
            return
        value = flatten_results_dict(results).get(self.metric)
        if value is None:
            if not self._warned:
                logger.warning("No metric '%s' among the results: no %s is saved.", self.metric, BEST_WEIGHTS)
            self._warned = True
        elif not self._is_best(value, iteration):
            self.waited += 1
        else:
            self.waited = 0
            self.state.best = {"metric": self.metric, "value": float(value), "iteration": iteration}
            save_best(self.folder, BEST_WEIGHTS, self.state)
            logger.info("Best %s so far: %.3f after %d iterations.", self.metric, value, iteration)

    def _is_best(self, value: float, iteration: int) -> bool:
        best = self.state.best
        if not math.isfinite(value) or best is None or best["metric"] != self.metric:
            return math.isfinite(value)
        return best["iteration"] == iteration or is_better(self.metric, value, best["value"])

    def _end_after(self, done: int) -> None:
        if self.trainer.ends_early or not 0 < self.patience <= self.waited or done >= self.trainer.max_iter:
            return
        self.trainer.ends_early = True
        self.trainer.storage.put_scalar(STOPPED, done, smoothing_hint=False, cur_iter=done - 1)
        logger.info(
            "The training ends early, after %d iterations: nothing better in %s%s.",
            *(done, plural(self.waited, "evaluation"), described_best(self.folder, self.state.best)),
        )


class PeriodicCheckpoint(HookBase):
    """Saves the whole run every `period` iterations (0: only at the end), after the last one and when it has to stop.

    Older files are deleted one step later, when the losses have shown that the new one is of use. After the last step
    one more forward pass shows it.

    Args:
        state: what is saved.
        folder: of the checkpoints.
        period: iterations between checkpoints, a fraction where epochs end within a batch.
        keep: number of periodic files that stay; older ones are deleted (0 keeps all).
    """

    trainer: Trainer

    def __init__(self, state: RunState, folder: Path, period: Fraction | int, keep: int = 0) -> None:
        self.state = state
        self.folder = folder
        self.period = period
        self.keep = keep
        self._is_new = True  # of a run that goes on: the file from which it does
        self._saved = 0  # iterations of the last file

    def after_step(self) -> None:
        """Save when a period is complete or the training is, or before the run stops."""
        done = self.trainer.iter + 1
        is_tried = not self.trainer.skipped
        if self._is_new and is_tried and comm.is_main_process():
            self._delete_old(done)
        is_last = done == self.trainer.max_iter
        if is_last or self.trainer.stop_signal:
            self.trainer.check_weights()
        is_saved = bool(is_last or is_due(done, self.period) or self.trainer.stop_signal)
        self._is_new = not is_last and (is_saved or (self._is_new and not is_tried))
        if is_saved:
            self._save(FINAL if is_last else periodic_name(done), done)

    def before_stop(self) -> None:
        """Save if a signal came after the step, in the evaluation perhaps."""
        if self._saved != (done := self.trainer.done):
            self.trainer.check_weights()
            self._save(periodic_name(done), done)

    def _save(self, name: str, done: int) -> None:
        save_run(self.folder, name, self.state, done)
        self._saved = done

    def after_train(self) -> None:
        """Save what a training that ended early leaves."""
        done = self.trainer.max_iter
        if self.trainer.ends_early and self.trainer.iter == done:
            if done > self.trainer.start_iter:
                self.trainer.check_weights()
            save_run(self.folder, FINAL, self.state, done)

    def _delete_old(self, done: int) -> None:
        """Files of more iterations stay: they are of this run before it went back."""
        for path in periodic_checkpoints(self.folder, done)[: -self.keep or None] if self.keep > 0 else ():
            path.unlink()


class MetricsWriter(PeriodicWriter):
    """Calls all writers every `period` iterations, those of files with lines or rows also after each evaluation.

    Args:
        metrics: writer of `metrics.json`.
        others: further writers.
        period: iterations between two lines.
        evaluation: hook before this one.
    """

    def __init__(
        self, metrics: MetricsFile, others: Sequence[EventWriter], period: int, evaluation: Evaluation
    ) -> None:
        super().__init__([metrics, *others], period=period)
        self.evaluation = evaluation

    def before_train(self) -> None:
        """Take up the files of a run that goes on, that of `metrics.json` first."""
        for writer in self._writers:
            if isinstance(writer, MetricsFile | CsvFile | Tracker):
                writer.begin(self.trainer.start_iter)
        if self.evaluation.last >= 0:
            self._write_files()

    def after_step(self) -> None:
        """Write when a period is complete, after the last step, or when there are new results."""
        super().after_step()
        if self.evaluation.last == self.trainer.iter:
            self._write_files()

    def _write_files(self) -> None:
        for writer in self._writers:
            if isinstance(writer, MetricsFile | CsvFile):
                writer.write()

    def after_train(self) -> None:
        """Write the rest and close; trackers learn whether the training is complete."""
        for writer in self._writers:
            if isinstance(writer, Tracker):
                writer.is_complete = self.trainer.iter >= self.trainer.max_iter
        super().after_train()

"""What a training says about its progress: a log line now and then, a bar on a terminal, and its speed at the end."""

import datetime
import logging
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.utils.events import EventWriter, get_event_storage

from focalnet_d2.config.moved import LOG_NAMES

from .environment import peak_memory
from .progress_bar import Bar, progress_bar

logger = logging.getLogger(__name__)
_NOT_PRINTED = {"loss_scale", *LOG_NAMES.values()}  # the latter are old names of what is printed by its own
_MAX_SECONDS = 86_400 * 999_999_999  # of a timedelta
_SLOW_STEPS = 3  # at the start, which say nothing about those that follow


class ProgressPrinter(EventWriter):
    """One log line: iteration, time left, speed, losses of the last decoder layer, learning rate, memory.

    Args:
        epoch: iterations of an epoch, where the run is counted in those.
        batch: images of an iteration, of all processes together; None where it is not known.
    """

    def __init__(
        self, max_iter: int, epoch: Fraction | None = None, batch: int | None = None, window: int = 20
    ) -> None:
        self.max_iter = max_iter
        self.epoch = epoch
        self.batch = batch
        self.window = window

    def write(self) -> None:
        """Log the present state of the event storage."""
        storage = get_event_storage()
        if storage.iter < self.max_iter:
            logger.info("  ".join(self._parts(storage)))

    def _parts(self, storage: Any) -> list[str]:
        histories = storage.histories()
        parts = [f"iteration {storage.iter + 1}/{self.max_iter}"]
        if self.epoch is not None:
            parts.append(epochs(storage.iter + 1, self.max_iter, self.epoch))
        if "time" in histories:
            seconds = histories["time"].median(1000)
            parts += [f"eta {time_left(seconds, self.max_iter - storage.iter - 1)}", *speed(seconds, self.batch)]
        parts += [
            f"{name} {history.median(self.window):.4g}"
            for name, history in histories.items()
            if re.fullmatch(r"total_loss|loss_[a-z]+|data_time|grad_norm", name) and name not in _NOT_PRINTED
        ]
        if "lr" in histories:
            parts.append(f"lr {histories['lr'].latest():.3g}")
        if torch.cuda.is_available():
            parts.append(f"max_mem {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
        return parts


class TrainingBar(HookBase):
    """A bar of the iterations, on a terminal; stands behind those hooks whose numbers it shows.

    Args:
        epoch, batch: see `ProgressPrinter`.
    """

    trainer: Any
    FORMAT = "{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt}{postfix}"

    def __init__(self, epoch: Fraction | None = None, batch: int | None = None) -> None:
        self.epoch = epoch
        self.batch = batch
        self._stack = ExitStack()
        self._bar: Bar

    def before_train(self) -> None:
        """Show it."""
        bar = progress_bar(self.trainer.max_iter, initial=self.trainer.start_iter, bar_format=self.FORMAT)
        self._bar = self._stack.enter_context(bar)

    def after_step(self) -> None:
        """Show the numbers of a step."""
        if not self._bar.disable:
            self._bar.set_postfix_str(", ".join(self._parts(self.trainer.storage)), refresh=False)
            self._bar.update()

    def after_train(self) -> None:
        """Leave it as it is, below everything that was logged so far."""
        self._stack.close()

    def _parts(self, storage: Any) -> Iterator[str]:
        histories, max_iter = storage.histories(), self.trainer.max_iter
        if self.epoch is not None:
            yield epochs(storage.iter + 1, max_iter, self.epoch)
        if "time" in histories:
            yield f"eta {time_left(histories['time'].median(1000), max_iter - storage.iter - 1)}"
        if "total_loss" in histories:
            yield f"loss {histories['total_loss'].median(20):.4g}"
        if "lr" in histories:
            yield f"lr {histories['lr'].latest():.3g}"
        if "time" in histories:
            yield from speed(histories["time"].median(1000), self.batch)[-1:]
        yield from (f"{mebibytes / 1024:.1f} GiB" for mebibytes in list(peak_memory().values())[:1])


class StepTimer(HookBase):
    """Puts the seconds of each step into the event storage, and logs the speed at the end; stands first in the hooks.

    Args:
        batch: images of an iteration, of all processes together; None where it is not known.
    """

    trainer: Any

    def __init__(self, batch: int | None = None) -> None:
        self.batch = batch
        self._begin = self._step_begin = time.perf_counter()
        self._steps = 0
        self._seconds = 0.0  # of the steps after the slow ones
        self._all_seconds = 0.0

    def before_train(self) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def before_step(self) -> None:
        """Start the clock of a step."""
        self._step_begin = time.perf_counter()

    def after_step(self) -> None:
        """Note the time of a step, before other hooks add theirs."""
        seconds = time.perf_counter() - self._step_begin
        self._steps += 1
        self._all_seconds += seconds
        if self._steps >= _SLOW_STEPS:
            self.trainer.storage.put_scalars(time=seconds)
        if self._steps > _SLOW_STEPS:
            self._seconds += seconds

    def after_train(self) -> None:
        """Log how long it was, and how fast."""
        total = time.perf_counter() - self._begin
        others = datetime.timedelta(seconds=int(max(total - self._all_seconds, 0)))
        counted = self._steps - _SLOW_STEPS
        mean = f", {', '.join(speed(self._seconds / counted, self.batch))}" if counted > 0 and self._seconds > 0 else ""
        logger.info(
            "%d iterations in %s%s; %s more went to evaluations, checkpoints and files.",
            *(self._steps, datetime.timedelta(seconds=int(self._all_seconds)), mean, others),
        )


def epochs(done: int, max_iter: int, epoch: Fraction) -> str:
    """Epochs after so many iterations, and of the whole run."""
    return f"epoch {float(done / epoch):.2f}/{float(max_iter / epoch):.4g}"


def speed(seconds: float, batch: int | None) -> list[str]:
    """Seconds of an iteration, and images in a second where the images of an iteration are known."""
    return [f"{seconds:.3f} s/it", *([f"{batch / seconds:.3g} images/s"] if batch and seconds > 0 else [])]


def time_left(seconds: float, iterations: int) -> datetime.timedelta:
    """Time that iterations of so many seconds take, at most the longest that Python can write."""
    return datetime.timedelta(seconds=int(min(seconds * iterations, _MAX_SECONDS)))

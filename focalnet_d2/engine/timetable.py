"""Epochs of a run as iterations: how long it is, and when it is evaluated, saved and warmed up.

An epoch is as many samples as there are training images. The stream of samples goes on over the ends of epochs without
a gap (`data/loader.py`), so an epoch need not be a whole number of iterations: its length is kept as a fraction, and
what is due with its end is due after the iteration that completes it.
"""

import logging
import math
from dataclasses import dataclass
from fractions import Fraction

from detectron2.config import LazyCall as L
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import ParamScheduler
from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError

BATCH = "dataloader.train.total_batch_size"
LONGEST = 2**31 - 1  # iterations, the most that train.max_iter takes
WARMUP_FACTOR = 0.001  # of the learning rate at the start of a warm-up in a recipe that has none of its own

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timetable:
    """When a run does what, in iterations.

    Attributes:
        images: of the training data.
        batch: images of an iteration, of all processes together; None where the loader of the recipe does not say it.
        epochs: of the run as its recipe says it; 0 where that says iterations.
        max_iter: of the run.
        eval_period, checkpoint_period: between two evaluations or checkpoints; 0 = only at the end. See `is_due`.
        warmup: of the learning rate, 0 = none; None where the recipe's own schedule says it.
    """

    images: int
    batch: int | None
    epochs: Fraction
    max_iter: int
    eval_period: Fraction
    checkpoint_period: Fraction
    warmup: int | None

    @property
    def epoch(self) -> Fraction | None:
        """Iterations of an epoch."""
        return Fraction(self.images, self.batch) if self.batch else None


def is_due(done: int, period: Fraction | int) -> bool:
    """Whether the last of `done` iterations has completed a period; no period of 0 iterations is ever completed."""
    return period > 0 and done // period > (done - 1) // period


def make_timetable(recipe: DictConfig, images: int) -> Timetable:
    """Turn the epochs of a recipe into iterations, log them, and set `train.max_iter` to those of the run, in place.

    Args:
        images: of the training data.

    Raises:
        RecipeError: the loader has no batch size, the run would be too long, or the warm-up as long as the run.
    """
    train, batch = recipe.train, OmegaConf.select(recipe, BATCH)
    epoch = Fraction(images, batch) if batch else None
    epochs = _in_epochs(train, "epochs", epoch)
    if epochs and epoch:
        train.max_iter = _whole(epochs * epoch, f"train.epochs={train.epochs}")
    timetable = Timetable(
        images=images,
        batch=batch,
        epochs=epochs,
        max_iter=train.max_iter,
        eval_period=_period(train, "eval", epoch),
        checkpoint_period=_period(train, "checkpoint", epoch),
        warmup=_warmup(train, epoch),
    )
    if timetable.warmup is not None and timetable.warmup >= timetable.max_iter:
        raise RecipeError(
            f"The learning rate rises for {timetable.warmup} iterations, and the run has {timetable.max_iter}: lower "
            f"train.{'warmup_epochs' if train.get('warmup_epochs') else 'warmup'}, or train longer."
        )
    logger.info("%s", described(timetable))
    return timetable


def _in_epochs(train: DictConfig, name: str, epoch: Fraction | None) -> Fraction:
    """A setting in epochs as it was typed (0.1 is a tenth); 0 where it is not set."""
    number = Fraction(str(train.get(name) or 0))
    if number and epoch is None:
        raise RecipeError(
            f"train.{name}={number} cannot be counted: the training loader of this recipe has no total_batch_size. "
            f"Give iterations in its place."
        )
    return number


def _period(train: DictConfig, name: str, epoch: Fraction | None) -> Fraction:
    epochs = _in_epochs(train, f"{name}_epochs", epoch)
    return epochs * epoch if epochs and epoch else Fraction(train[f"{name}_period"])


def _warmup(train: DictConfig, epoch: Fraction | None) -> int | None:
    epochs = _in_epochs(train, "warmup_epochs", epoch)
    return _whole(epochs * epoch, f"train.warmup_epochs={epochs}") if epochs and epoch else train.get("warmup")


def _whole(iterations: Fraction, setting: str) -> int:
    number = math.ceil(iterations)
    if number > LONGEST:
        raise RecipeError(f"{setting} is {number} iterations, and a run has at most {LONGEST}: lower it.")
    return number


def described(timetable: Timetable) -> str:
    """One line: `20 epochs of 61 images at batch 4: 15.25 iterations an epoch, 305 in all; ...`."""
    evaluation, checkpoint = (
        f"{what} {_every(period, timetable)}"
        for what, period in (
            ("evaluation", timetable.eval_period),
            ("a checkpoint", timetable.checkpoint_period),
        )
    )
    warmup = "" if timetable.warmup is None else f"; {timetable.warmup or 'no'} iterations of warm-up"
    return f"{_length(timetable)}; {evaluation}; {checkpoint}{warmup}."


def _length(timetable: Timetable) -> str:
    images, epoch, max_iter = timetable.images, timetable.epoch, timetable.max_iter
    if epoch is None:
        return f"{max_iter} iterations, {images} training images"
    of_images = f"of {images} images at batch {timetable.batch}"
    if not timetable.epochs:
        return f"{max_iter} iterations, {_short(max_iter / epoch)} epochs {of_images}"
    gap = "" if epoch.denominator == 1 else " (a batch may hold the end of one and the beginning of the next)"
    return f"{_short(timetable.epochs)} epochs {of_images}: {_short(epoch)} iterations an epoch{gap}, {max_iter} in all"


def _every(period: Fraction, timetable: Timetable) -> str:
    if not 0 < period < timetable.max_iter:
        return "only at the end"
    if period.denominator == 1:
        return f"every {period} iterations"
    first = [math.ceil(period * number) for number in (1, 2, 3)]
    return f"after {', '.join(str(number) for number in first if number <= timetable.max_iter)}, ... iterations"


def _short(number: Fraction) -> str:
    return f"{float(number):.10g}" if number.denominator in (1, 2, 4, 5, 8, 10) else f"{float(number):.4g}"


def build_schedule(recipe: DictConfig, warmup: int | None) -> ParamScheduler:
    """The learning-rate factor over the run, from 0 to 1, with a warm-up of its own where one was asked for.

    Args:
        recipe: with `train.max_iter` of the run.
        warmup: iterations; 0 takes the recipe's warm-up away, None leaves it.
    """
    node = recipe.lr_multiplier.copy()
    if warmup is not None:
        share = warmup / recipe.train.max_iter
        has_own = "warmup_length" in node and "scheduler" in node
        if has_own and share:
            node.warmup_length = share
        elif has_own:
            node = node.scheduler
        elif share:
            warm = L(WarmupParamScheduler)(
                scheduler=node, warmup_factor=WARMUP_FACTOR, warmup_length=share, warmup_method="linear"
            )
            node = OmegaConf.create(warm, flags={"allow_objects": True})
    return build(node, "lr_multiplier")

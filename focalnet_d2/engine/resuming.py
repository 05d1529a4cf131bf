"""A run that goes on with other settings: what takes effect, what is refused, and what is said about it.

Settings of the optimizer and the schedule are those of the recipe with which a run goes on, and not the checkpoint's.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig

from focalnet_d2.config.lazy import recipe_from_yaml, recipe_to_yaml
from focalnet_d2.config.nodes import leaves
from focalnet_d2.config.recipe_yaml import plain_recipe

_ABSENT = "not set"
_NO_DECAY = (_ABSENT, 1)

logger = logging.getLogger(__name__)


def log_changes(checkpoint_recipe: str, recipe: DictConfig) -> None:
    """Log each setting that differs from the checkpoint's, in a line.

    Raises:
        ValueError: the optimizer is another one, or puts the parameters into other groups; only its numbers may change.
            So is what is frozen.
    """
    if not checkpoint_recipe:
        return
    now = recipe_from_yaml(recipe_to_yaml(recipe))  # settings that came later stand in both
    changes = changed_settings(recipe_from_yaml(checkpoint_recipe, "The checkpoint's recipe"), now)
    fixed = [line for line, values in changes.items() if _changes_groups(line, values)]
    if fixed:
        raise ValueError(
            f"the state of the optimizer fits other settings ({', '.join(fixed)}): set them as they were, or give the "
            f"file as train.init_checkpoint without --resume to start from its weights."
        )
    if changes:
        logger.warning("The run goes on with other settings than the checkpoint's:\n  %s", "\n  ".join(changes))


def warn_of_other_images(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Warn if the training data has another number of images than at the checkpoint.

    Args:
        before, now: `metadata` of the checkpoint and of the run that goes on.
    """
    old, new = (metadata.get("training_images") for metadata in (before, now))
    if old and new and old != new:
        logger.warning(
            "There are %d training images now, and there were %d at the checkpoint: from here on images come in "
            "another order, and all epochs are counted as %d images, those before the checkpoint, too.",
            *(new, old, new),
        )


def changed_settings(before: DictConfig, now: DictConfig) -> dict[str, tuple[Any, Any]]:
    """`key: old -> new` for each setting that differs between two recipes, with both values."""
    old, new = (dict(leaves(plain_recipe(recipe))) for recipe in (before, now))
    pairs = {key: (old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in {**old, **new}}
    return {f"{key}: {a} -> {b}": (a, b) for key, (a, b) in pairs.items() if a != b or type(a) is not type(b)}


def _changes_groups(line: str, values: tuple[Any, Any]) -> bool:
    """Whether a changed setting puts the parameters into other groups of the optimizer."""
    if line.startswith("train.freeze"):
        return not all(value in (_ABSENT, []) for value in values)
    if line.startswith("optimizer.layer_decay"):
        return (values[0] in _NO_DECAY) != (values[1] in _NO_DECAY)
    return line.startswith("optimizer.") and not _are_numbers(values)


def _are_numbers(values: tuple[Any, Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


@contextmanager
def new_settings(optimizer: torch.optim.Optimizer, scheduler: Any) -> Iterator[None]:
    """State dicts are loaded into both inside; afterwards both have the settings that they had, and rates to match.

    Args:
        scheduler: Detectron2's `LRMultiplier`, whose rates follow from the iteration alone.
    """
    own = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    base_rates = list(scheduler.base_lrs)
    yield
    scheduler.base_lrs = base_rates
    is_over = scheduler.last_epoch > scheduler._max_iter  # a run that was made shorter has no rates there
    rates = base_rates if is_over else scheduler.get_lr()
    for group, settings, rate in zip(optimizer.param_groups, own, rates):
        group.update({**settings, "lr": rate})
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]

"""The metric that says which weights of a run are the best: given by name, or chosen by what a recipe is scored on."""

import itertools
import logging
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.utils.text import some_of

# The main metric of each task, the task that says most first.
MAIN_METRICS = ("panoptic_seg/PQ", "segm/AP", "bbox/AP", "sem_seg/mIoU", "classification/top1")
VALIDATION = "validation"  # the task of the losses on the test data
VALIDATION_LOSS = f"{VALIDATION}/total_loss"

logger = logging.getLogger(__name__)


def members(evaluator: DatasetEvaluator) -> list[Any]:
    """The evaluators that Detectron2's `DatasetEvaluators` joins, or the one that is none."""
    return list(getattr(evaluator, "_evaluators", [evaluator]))


def is_better(metric: str, value: float, best: float) -> bool:
    """Whether a value of a metric is better than another one: losses are to be small, all others large."""
    return value < best if metric == VALIDATION_LOSS else value > best


def choose_metric(train: DictConfig, evaluator: DatasetEvaluator, *, is_typed: bool) -> None:
    """See that the evaluators give `train.best_metric`; those of others do not say what they give.

    A recipe's own metric that belongs to another task becomes that of the recipe's tasks, in place, and is logged.

    Args:
        train: settings of the group.
        is_typed: somebody has asked for just this metric.

    Raises:
        RecipeError: the evaluators do not give it, or it is a loss that is not computed.
    """
    metric = train.best_metric
    if metric == VALIDATION_LOSS:
        if not train.get("validation_loss"):
            raise RecipeError(f"train.best_metric={metric} needs that loss: add train.validation_loss=True.")
        return
    if not all(hasattr(one, "metric_names") for one in members(evaluator)):
        return
    names = list(itertools.chain.from_iterable(one.metric_names() for one in members(evaluator)))
    if metric in names:
        return
    chosen = next((main for main in MAIN_METRICS if main in names), None)
    if is_typed or metric not in MAIN_METRICS or chosen is None:
        shown = [name for name in names if "-" not in name] + [name for name in names if "-" in name]
        raise RecipeError(f"train.best_metric is {metric!r}: the evaluators of this recipe give {some_of(shown, 20)}.")
    logger.info("The best weights are those with the best %s: the evaluators do not give %s.", chosen, metric)
    train.best_metric = chosen

"""Weights of classes in the class losses: `train.class_weights`, as they are typed or from how often classes occur."""

import difflib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from focalnet_d2.data.class_presence import count_labels
from focalnet_d2.data.mappers import SemanticSegMapper
from focalnet_d2.data.record_choice import kind_of
from focalnet_d2.utils.text import some_of

from .checkpointing import class_names
from .distributed import on_main_process
from .preflight import RunData
from .recipe_filling import mapper_class

AUTO = "auto"

logger = logging.getLogger(__name__)


def weigh_classes(model: nn.Module, recipe: DictConfig, data: RunData) -> None:
    """Gives the model the weights that `train.class_weights` asks for, and logs them; all ranks must call it.

    Raises:
        ValueError: weights that do not fit the classes, or a model that takes none.
    """
    setting = recipe.train.get("class_weights", "")
    if setting is None or setting == "":
        return
    weigh_classes: Any = getattr(model, "weigh_classes", None)
    if weigh_classes is None:
        raise ValueError(f"train.class_weights is set, but a {type(model).__name__} has no weights of classes.")
    names = class_names(recipe.dataloader.train, read=False) or [
        str(index) for index in range(cast(int, model.num_classes))
    ]
    if setting == AUTO:
        counts = on_main_process(lambda: class_frequencies(recipe, data, names))
        weights = balanced_weights(counts)
    else:
        counts, weights = None, typed_weights(setting, names)
    weigh_classes(weights)
    logger.info("Weights of classes in the class losses:\n%s", _table(names, counts, weights))


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """One over the square root of how often a class occurs, scaled so that the mean over all objects is 1.

    A class that does not occur weighs 1.
    """
    numbers = np.asarray(counts, float)
    raw = 1 / np.sqrt(np.maximum(numbers, 1))
    occur = numbers > 0
    mean = (numbers * raw).sum() / max(numbers.sum(), 1)
    return np.where(occur, raw / mean if mean else 1.0, 1.0).tolist()


def typed_weights(setting: Any, names: Sequence[str]) -> list[float]:
    """Weights of all classes from a list of them, or from a dict by name, in which missing classes weigh 1.

    Raises:
        ValueError: another number of weights, a name that is no class, or a weight that is no number of at least 0.
    """
    setting = OmegaConf.to_container(setting) if isinstance(setting, DictConfig | ListConfig) else setting
    if isinstance(setting, Mapping):
        by_name = {str(name): weight for name, weight in setting.items()}
        for name in by_name.keys() - set(names):
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or list(names)
            raise ValueError(f"train.class_weights has '{name}', which is no class: near are {some_of(near, 5)}.")
        weights = [by_name.get(name, 1.0) for name in names]
    elif isinstance(setting, list | tuple):
        weights = list(setting)
        if len(weights) != len(names):
            raise ValueError(f"train.class_weights has {len(weights)} weights for {len(names)} classes: give one each.")
    else:
        raise ValueError(
            f"train.class_weights is {setting!r}: it must be auto, a list of weights, or {{name: weight}}."
        )
    for name, weight in zip(names, weights):
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or weight < 0:
            raise ValueError(f"train.class_weights gives {name} the weight {weight!r}: it must be a number from 0 on.")
    return [float(weight) for weight in weights]


def class_frequencies(recipe: DictConfig, data: RunData, names: Sequence[str]) -> list[int]:
    """How often each class occurs in what the losses see: objects, segments or images; pixels where those are judged.

    Raises:
        FileNotFoundError, ValueError: a label file cannot be read.
        ValueError: the training data does not say which classes it holds.
    """
    records = cast(Sequence[dict], data.train or ())
    if kind_of(records) == "semantic":
        mapper = mapper_class(recipe)
        pixels = mapper is not None and issubclass(mapper, SemanticSegMapper)
        logger.info("The %d label files are read to count their classes.", len(records))
        return count_labels(records, len(names), pixels=pixels).tolist()
    classes = data.summary.get("train", {}).get("classes")
    if classes is None:
        raise ValueError("train.class_weights=auto: the training data has no classes to count; type the weights.")
    return [classes.get(name, 0) for name in names]


def _table(names: Sequence[str], counts: Sequence[int] | None, weights: Sequence[float]) -> str:
    width = max(map(len, names))
    numbers = [""] * len(names) if counts is None else [f"{count:>12,}" for count in counts]
    return "\n".join(f"  {name:{width}}{number}  {weight:.4g}" for name, number, weight in zip(names, numbers, weights))

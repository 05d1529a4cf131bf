"""What is asked before a model is built: whether the data of a run can be read, learned and scored.

A mistake that would show at the first evaluation, hours later, is an error here.
"""

import logging
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from omegaconf import DictConfig, OmegaConf
from torch import nn

from focalnet_d2.config.building import build
from focalnet_d2.config.data_group import ROOT
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.checks.start import check_start
from focalnet_d2.data.folders.finding import DERIVED
from focalnet_d2.data.loader import check_masks_to_paste
from focalnet_d2.data.record_choice import file_names, kind_of, record_summary
from focalnet_d2.data.shared_memory_dataset import SharedMemoryDataset
from focalnet_d2.utils.text import some_of

from .checkpointing import class_list, class_names, first_name
from .distributed import on_main_process
from .object_counts import check_results, warn_of_full_images
from .patience import check_patience
from .recipe_advice import other_kind
from .recipe_filling import class_counts, mapper_class, uses_of
from .rng import preserved_rng
from .timetable import Timetable, make_timetable
from .watched_metric import choose_metric, members

_SHOWN = 10  # classes of a list in a message

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunData:
    """The data of a run, read and checked.

    Attributes:
        train: images to learn from; None where a run only evaluates.
        test: images to predict.
        evaluator: scores the predictions.
        timetable: of the training; None where a run only evaluates.
        summary: how many images, objects and classes both have, by loader.
    """

    train: SharedMemoryDataset | None
    test: SharedMemoryDataset
    evaluator: DatasetEvaluator
    timetable: Timetable | None = None
    summary: dict[str, Any] = field(default_factory=dict)


def read_data(recipe: DictConfig, *, to_train: bool, metric_is_typed: bool = False) -> RunData:
    """Read the data sets of a recipe, make its evaluator, and compare the classes of all with the model's.

    All ranks of a run have to call it together. To train, the recipe then has the iterations of its epochs, as soon as
    the number of images is known, and a metric of the best weights that its evaluators give.

    Args:
        metric_is_typed: `train.best_metric` must stay as it is.

    Raises:
        FileNotFoundError, ValueError: a file is missing, or cannot be learned from or scored.
        RecipeError: the model has other classes than the data, the training data others than the test data, more
            results are wanted than there can be, or epochs cannot be counted.
    """
    with preserved_rng():
        with naming_check_data(recipe):
            train = build(recipe.dataloader.train.dataset, "dataloader.train.dataset") if to_train else None
            test = build(recipe.dataloader.test.dataset, "dataloader.test.dataset")
        timetable = None if train is None else make_timetable(recipe, len(train))
        if timetable is not None:
            check_patience(recipe.train, timetable)
        check_kinds(recipe, {"train": train or (), "test": test})
        if train is not None and recipe.dataloader.train.get("copy_paste"):
            check_masks_to_paste(train)
        evaluator = build(recipe.dataloader.evaluator, "dataloader.evaluator")
        check_classes(recipe, evaluator, to_train=to_train)
        check_results(recipe)
        if to_train:
            choose_metric(recipe.train, evaluator, is_typed=metric_is_typed)
        for one in members(evaluator):
            if hasattr(one, "check_images"):
                one.check_images(test)
        with naming_check_data(recipe):
            on_main_process(lambda: _check_images(recipe, train, test))
        logger.info("%s%d images to score", "" if train is None else f"{len(train)} images to learn from, ", len(test))
        warn_of_full_images(recipe, (train or (), test))
        summary = {
            loader: record_summary(records, class_names(recipe.dataloader[loader], read=False))
            for loader, records in (("train", train), ("test", test))
            if records is not None
        }
        learned = None if train is None else SharedMemoryDataset(train)
        return RunData(learned, SharedMemoryDataset(test), evaluator, timetable, summary)


@contextmanager
def naming_check_data(recipe: DictConfig) -> Iterator[None]:
    """Errors of the data of a folder end with the command that lists all of them."""
    root = OmegaConf.select(recipe, ROOT)
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        origin = error.__cause__ if isinstance(error, RecipeError) else error  # `build` gives errors of data a key
        if not root or isinstance(origin, RecipeError) or not isinstance(origin, ValueError | FileNotFoundError):
            raise
        kind = next(one for one in (RecipeError, FileNotFoundError, ValueError) if isinstance(error, one))
        command = f"focalnet-d2 check-data {shlex.quote(root)}"
        raise kind(f"{error} `{command}` lists all faults, and --fix mends a copy.") from error


def check_kinds(recipe: DictConfig, data: Mapping[str, Sequence[dict]]) -> None:
    """Whether the recipe can learn from the kind of truth that its data sets hold, as far as both are known.

    Args:
        data: dataset dicts by loader.

    Raises:
        RecipeError: it cannot; the message names recipes that can.
    """
    uses = uses_of(mapper_class(recipe))
    for loader, records in data.items():
        kind = kind_of(records)
        if uses and kind and kind != uses[0].kind and not (kind == "panoptic" and uses[0].kind in DERIVED):
            raise RecipeError(other_kind(first_name(recipe.dataloader[loader]), kind, uses[0]))


def _check_images(recipe: DictConfig, train: Sequence[dict] | None, test: Sequence[dict]) -> None:
    """The images of all data sets, on the main process."""
    for loader, images in (("train", train), ("test", test)):
        check_start(images or (), f"the data set {first_name(recipe.dataloader[loader])}")
    scored = file_names(test)
    if shared := sorted(set(scored).intersection(file_names(train or ()))):
        logger.warning(
            "%d of the %d images to score are images to learn from, too (%s), which makes scores too good: give "
            "validation images of its own, such as another data.val.",
            *(len(shared), len(scored), some_of(shared)),
        )


def check_classes(recipe: DictConfig, evaluator: DatasetEvaluator, *, to_train: bool) -> None:
    """Whether model, training data and test data are about the same classes; all data sets have been read.

    Raises:
        RecipeError: they are not; it lists both and says which setting to type.
    """
    loaders = ("train", "test") if to_train else ("test",)
    first_classes = any(getattr(one, "first_classes", None) for one in members(evaluator))
    compared = loaders[:1] if to_train and first_classes else () if first_classes else loaders
    for loader in compared:
        _check_number(recipe, loader)
        _check_things(recipe, loader)
    if len(compared) == 2:
        _check_same_names(recipe)


def _check_number(recipe: DictConfig, loader: str) -> None:
    names = class_names(recipe.dataloader[loader], read=False)
    for key, number in class_counts(recipe, linked=True).items():
        if names is not None and number != len(names):
            where = "The model" if key == "model.num_classes" else f"The model by {key}"
            raise RecipeError(
                f"{where} has {number} classes, but the data set {first_name(recipe.dataloader[loader])} has "
                f"{len(names)} ({some_of(names, _SHOWN)}): set {key}={len(names)}."
            )


def _check_things(recipe: DictConfig, loader: str) -> None:
    """Whether `model.inference.thing_ids` are the countable classes, where results tell things from stuff."""
    inference = recipe.model.get("inference") or {}
    name, classes = first_name(recipe.dataloader[loader]), class_list(recipe.dataloader[loader])
    names, things = (None, None) if classes is None else (classes.names, classes.thing_ids)
    if names is None or things is None or (inference.get("panoptic") or inference.get("instance")) is None:
        return
    found = sorted(inference.get("thing_ids", ()))
    if found != things:
        setting = f"[{','.join(map(str, things))}]"
        raise RecipeError(
            f"model.inference.thing_ids are {_numbered(found, names)}, but the things of the data set "
            f"{name} are {_numbered(things, names)}: set model.inference.thing_ids={setting}."
        )


def _check_same_names(recipe: DictConfig) -> None:
    (train, learned), (test, scored) = (
        (first_name(recipe.dataloader[loader]), class_names(recipe.dataloader[loader], read=False))
        for loader in ("train", "test")
    )
    if learned is not None and scored is not None and learned != scored:
        raise RecipeError(
            f"The training data {train} and the test data {test} have different classes, "
            f"{first_difference(learned, scored)}: set dataloader.test.dataset.names to a data set with the classes of "
            "the training, in their order."
        )


def first_difference(first: Sequence[str], second: Sequence[str]) -> str:
    """Where two different lists of class names part, and both lists, for a message."""
    pairs = enumerate(zip(first, second))
    place = next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))
    return f"from number {place} on: {some_of(first[place:], _SHOWN)} and {some_of(second[place:], _SHOWN)}"


def check_tasks(model: nn.Module, evaluator: DatasetEvaluator) -> None:
    """Whether the model predicts what its evaluators score; models and evaluators that do not say it are taken.

    Raises:
        RecipeError: it does not.
    """
    predicted: Sequence[str] | None = getattr(model, "tasks", None)
    if predicted is None:
        return
    for one in members(evaluator):
        missing = [task for task in getattr(one, "tasks", ()) if task not in predicted]
        if missing:
            raise RecipeError(
                f"{type(one).__name__} scores {', '.join(missing)}, but the {type(model).__name__} of this recipe "
                f"predicts {', '.join(predicted) or 'nothing'} only: switch it on, or take the evaluator out of "
                "dataloader.evaluator."
            )


def _numbered(classes: Iterable[int], names: Sequence[str] | Mapping[int, str]) -> str:
    """`0 (cat), 3 (dog)`; `none` for no class."""
    words = (f"{index} ({names[index]})" if index < len(names) else str(index) for index in classes)
    return some_of(words, _SHOWN) or "none"

"""What a run says about a folder of data: what was recognized in it and why, and what the recipe becomes."""

import logging
from collections.abc import Iterator
from dataclasses import replace

from detectron2.utils import comm
from omegaconf import DictConfig

from focalnet_d2.config.data_group import GROUP
from focalnet_d2.config.nodes import containers, target_name
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.datasets.folders import PREFIX
from focalnet_d2.data.folders.dataset import FolderDataset
from focalnet_d2.utils.text import some_of

from .channel_filling import channel_format
from .checkpointing import first_name
from .object_counts import result_limits
from .own_data import class_changes, data_settings, find_for, found_dataset
from .recipe_filling import class_counts, mapper_class

_SHOWN = 20  # classes

logger = logging.getLogger(__name__)


def log_data(recipe: DictConfig) -> None:
    """Log what was recognized and why; nothing for a recipe that names registered data sets."""
    if (dataset := found_dataset(recipe)) is not None:
        logger.info("%s", "\n  ".join(_described(recipe, dataset)))


def _described(recipe: DictConfig, dataset: FolderDataset) -> Iterator[str]:
    yield f"{dataset.root} is read as {dataset.layout}, {dataset.kind}: {dataset.reason}"
    for name, part in dataset.parts.items():
        if part.image_list:
            yield f"{name}: the images that {part.image_list} lists"
    if dataset.split is not None and not dataset.parts["val"].image_list:
        groups = f", in groups by {dataset.split.groups!r}" if dataset.split.groups else ""
        share, seed = dataset.split.share, dataset.split.seed
        yield f"val is {share:.0%} of the training images, drawn with the seed {seed}{groups}: there is no other part"
    yield from _scored(recipe)
    changes = class_changes(recipe)
    if changes:
        yield f"changed classes: {some_of(_changed(changes), _SHOWN)}"
    classes = changes.changed(dataset.classes)
    named = (f"{index} {entry.name} (id {entry.dataset_id})" for index, entry in enumerate(classes.classes))
    yield f"classes: {some_of(named, _SHOWN)}"
    if (channels := channel_format(recipe)) is not None:
        yield f"the images: {channels}; means {list(channels.mean)}, standard deviations {list(channels.std)}"
    mapper = mapper_class(recipe)
    settings = [f"{key}={number}" for key, number in class_counts(recipe).items()]
    yield (
        f"the recipe: {mapper.__name__ if mapper else 'its own mapper'}, {some_of(settings)}, scored by "
        f"{some_of(_evaluators(recipe), 5)}, best by {recipe.train.best_metric}"
    )
    for limit in result_limits(recipe):
        if limit.number == limit.pairs:
            pairs = f"{limit.queries_key}={limit.queries} times {limit.classes} classes"
            yield f"{limit.key}={limit.number}, as many results as there can be: {pairs}"


def _scored(recipe: DictConfig) -> Iterator[str]:
    """Which part is scored, where there is another that might be meant."""
    name = first_name(recipe.dataloader.test)
    part = name.removeprefix(f"{PREFIX}_")
    if part != "val":
        yield f"the part that is scored: {part}"
    elif recipe[GROUP].test:
        yield "the part that is scored: val; test is scored by focalnet-d2 evaluate"


def _changed(changes: ClassChanges) -> Iterator[str]:
    """What became of each class that a change names."""
    yield from (f"{old} is called {new}" for old, new in changes.rename.items())
    yield from (f"{some_of(names, 5)} are one class, {new}" for new, names in changes.merge.items())
    yield from (f"{name} is left out" for name in changes.drop)


def _evaluators(recipe: DictConfig) -> list[str]:
    names = [(target_name(node) or "").rpartition(".")[2] for _, node in containers(recipe.dataloader.evaluator)]
    return [name for name in names if name.endswith("Evaluator")]


def warn_of_changed_folder(recipe: DictConfig) -> None:
    """Warn if the folder holds something else now than the run found at its first start, which it goes on with."""
    dataset = found_dataset(recipe)
    if dataset is None or not comm.is_main_process():
        return
    try:
        now = find_for(recipe, data_settings(recipe) or {})
    except (OSError, ValueError) as error:
        difference = str(error)
    else:
        was = dataset if dataset.image_files else replace(dataset, image_files=now.image_files)  # of an earlier version
        if _without_lists(now) == _without_lists(was):
            return
        difference = (
            f"it is {now.reason} and has {now.image_files} image files now, and was {was.reason} and had "
            f"{was.image_files}"
        )
    logger.warning(
        "%s differs from what the run found at its first start, with which it goes on: %s", dataset.root, difference
    )


def _without_lists(dataset: FolderDataset) -> FolderDataset:
    return replace(dataset, parts={name: replace(part, image_list="") for name, part in dataset.parts.items()})

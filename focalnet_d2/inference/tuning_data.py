"""The annotated images that thresholds are tuned and reported on: of a folder, or of a registered data set."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog
from detectron2.evaluation import DatasetEvaluator
from omegaconf import DictConfig

from focalnet_d2.config.building import build
from focalnet_d2.config.data_group import GROUP
from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.data.annotations.ids import Id
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.folders.dataset import Split
from focalnet_d2.data.folders.splitting import split_images
from focalnet_d2.engine.checkpointing import class_list, class_names
from focalnet_d2.engine.own_data import apply_settings, use_lists_beside
from focalnet_d2.engine.preflight import read_data
from focalnet_d2.engine.watched_metric import members
from focalnet_d2.utils.text import plural, some_of

PARTS = ("tuning", "reporting")


class TuningData(NamedTuple):
    """Annotated images.

    Attributes:
        loader: of all test batches.
        evaluators: those of the recipe, for these images.
        part_of: of `PARTS`, by the id of the image.
        class_of: contiguous id in the data by that of the model.
        classes: of the data.
    """

    loader: Iterable[list[dict[str, Any]]]
    evaluators: list[DatasetEvaluator]
    part_of: Mapping[Any, str]
    class_of: dict[Id, int]
    classes: ClassMap


def read_tuning_data(
    recipe: DictConfig, data: str | os.PathLike, classes: ClassMap, *, checkpoint: str, settings: Iterable[str],
    holdout: float, seed: int, trust: bool = False,
) -> TuningData:  # fmt: skip
    """Read and check the images, and split them.

    Args:
        recipe: of the checkpoint; it is copied.
        data: a folder, of which the validation part is taken, or the name of a registered data set.
        classes: of the checkpoint.
        settings: overrides of the group `data`.
        holdout: share of the images that are reported on; seed: another one, another split.

    Raises:
        FileNotFoundError, ValueError: the data cannot be used with this checkpoint; the message names both.
    """
    recipe = recipe.copy()
    _point_at(recipe, str(data), checkpoint, settings, trust)
    names = class_names(recipe.dataloader.test) or []
    class_of = _class_of(classes, names, checkpoint, str(data))
    found = read_data(recipe, to_train=False)
    listed = class_list(recipe.dataloader.test)
    if listed is None:
        raise ValueError(f"The data set {data} has no class list, so its predictions cannot be scored.")
    records = [found.test[index] for index in range(len(found.test))]
    parts = split_parts({one["image_id"]: one["file_name"] for one in records}, holdout, seed, _groups(recipe))
    loader = build(recipe.dataloader.test, "dataloader.test", dataset=found.test)
    return TuningData(loader, members(found.evaluator), parts, class_of, listed)


def split_parts(files: Mapping[Any, str], holdout: float, seed: int = 0, groups: str = "") -> dict[Any, str]:
    """The part of each image, by its id, from the names of the files below their common folder alone.

    Raises:
        ValueError: a share that leaves nothing, or a single image.
    """
    if not 0 < holdout < 1:
        raise ValueError(f"The share of held out images is {holdout}: it must be between 0 and 1.")
    if len(set(files.values())) < 2:
        only = plural(len(files), "image")
        raise ValueError(f"Thresholds are tuned on some images and reported on others, and there is only {only}.")
    root = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files.values()])
    names = {key: Path(os.path.relpath(file, root)).as_posix() for key, file in files.items()}
    _, reported = split_images(names.values(), Split(holdout, seed, groups))
    held_out = set(reported)
    return {key: PARTS[name in held_out] for key, name in names.items()}


def _point_at(recipe: DictConfig, data: str, checkpoint: str, settings: Iterable[str], trust: bool) -> None:
    """Make the recipe's test data those of a folder or a name, in place.

    Raises:
        ValueError: it is neither.
    """
    settings = list(settings)
    if os.path.isdir(data):
        use_lists_beside(recipe, Path(checkpoint).parent)  # those of the run that wrote the checkpoint
        apply_settings(recipe, [f"data={data}", *settings], trust=trust, evaluate_only=True)
        return
    if data not in DatasetCatalog.list():
        near = difflib.get_close_matches(data, DatasetCatalog.list(), n=3)
        hint = f"; names that are like it: {', '.join(near)}" if near else ""
        raise ValueError(f"{data} is neither a folder nor the name of a registered data set{hint}.")
    if settings:
        raise RecipeError(f"{settings[0]} is about a folder of data, and {data} is the name of a data set.")
    recipe.dataloader.test.dataset.names = data


def _groups(recipe: DictConfig) -> str:
    """What images of one group have in common (`data.split_groups`): they stay in one part."""
    return recipe[GROUP].split_groups if GROUP in recipe else ""


def _class_of(classes: ClassMap, names: list[str], checkpoint: str, data: str) -> dict[Id, int]:
    """Contiguous id in the data by that of the checkpoint; both have the same names, in any order.

    Raises:
        ValueError: they have not.
    """
    if sorted(classes.names) != sorted(names):
        only, other = (sorted(set(a) - set(b)) for a, b in ((classes.names, names), (names, classes.names)))
        raise ValueError(
            f"The checkpoint {checkpoint} and the data set {data} have different classes: only the checkpoint has "
            f"{some_of(only, 5) or 'none'}, only the data {some_of(other, 5) or 'none'}. Tune on data with the classes "
            "of the checkpoint."
        )
    return {index: names.index(name) for index, name in enumerate(classes.names)}

"""A trained model from its checkpoint alone: the recipe and the classes that the file holds."""

from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from os.path import expanduser
from pathlib import Path
from typing import Any, NamedTuple, cast

from detectron2.data import MetadataCatalog
from omegaconf import DictConfig
from torch import nn

from focalnet_d2.checkpoint.reading import read_checkpoint
from focalnet_d2.config.building import build
from focalnet_d2.config.lazy import RecipeError, apply_overrides, check_names, recipe_from_yaml
from focalnet_d2.config.recipe_trust import refuse_untrusted
from focalnet_d2.data.class_map import ClassMap, class_map
from focalnet_d2.data.class_metadata import metadata_classes
from focalnet_d2.engine.checkpointing import first_name
from focalnet_d2.engine.own_data import read_recipe

from .loading import fill
from .thresholds import score_thresholds_of

EXPORTED = (".onnx", ".xml", ".torchscript", ".pt2")  # endings of what `focalnet-d2 export` writes


class Trained(NamedTuple):
    """A model with its weights on the CPU, the recipe that it was built from, and its classes.

    Attributes:
        score_thresholds: the lowest score of an object of each class, where the file keeps them.
    """

    model: nn.Module
    recipe: DictConfig
    classes: ClassMap
    score_thresholds: tuple[float, ...] | None = None


def load_trained(
    checkpoint: str | PathLike,
    recipe: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    trust: bool = False,
) -> Trained:
    """Build what a checkpoint holds; nothing in the file is executed.

    Args:
        checkpoint: a file that a run has written, or with `recipe` any that fills the whole model.
        recipe: name or path, for a file that holds no recipe, and in place of the one that it holds.
        overrides: `key=value` settings of the recipe.
        trust: the recipe may build anything (see `load_recipe`).

    Raises:
        FileNotFoundError: there is no such file.
        RecipeError: the file holds no recipe and none is given, or it cannot be used.
        ValueError: the file cannot be read, does not fit, or has weights that are NaN; each names the file.
    """
    path = _checkpoint_path(checkpoint)
    content = read_checkpoint(path)
    if recipe is not None:
        loaded, of = read_recipe(recipe, overrides, trust=trust), ""
    else:
        loaded, of = recipe_of(content, path, overrides, trust=trust), f"The recipe in {path}: "
    model = _build(loaded, of)
    fill(model, loaded, content, path)
    classes = classes_of(content, loaded, cast(int, model.num_classes), path)
    return Trained(model, loaded, classes, score_thresholds_of(content, classes, path))


def _checkpoint_path(checkpoint: str | PathLike) -> str:
    """The path, or address, `~` being the home folder.

    Raises:
        ValueError: it is empty, or of an exported model.
    """
    path = expanduser(fspath(checkpoint))
    if not path:
        raise ValueError("'' is no path of a checkpoint: name a file of a run, such as output/mine/model_best.pth.")
    if Path(path).suffix.lower() in EXPORTED:
        raise ValueError(
            f"{path} is an exported model and no checkpoint: predict with it by `focalnet-d2 runtime`, or name the "
            "checkpoint that it was made of."
        )
    return path


def _build(recipe: DictConfig, of: str) -> nn.Module:
    """The model of a recipe; `of` is what messages begin with where it comes from a checkpoint."""
    try:
        return build(recipe.model, f"{of}model")
    except RecipeError as error:
        if not of:
            raise
        raise RecipeError(f"{error} A checkpoint of a newer version needs that version of focalnet-d2.") from error


def recipe_of(
    content: Mapping[str, Any], path: str, overrides: Iterable[str] = (), *, trust: bool = False
) -> DictConfig:
    """The recipe that a checkpoint of a run holds, with overrides.

    Raises:
        RecipeError: it holds none, or one that builds what needs trust; names the file.
    """
    text = content.get("recipe")
    if not isinstance(text, str) or not text.strip():
        raise RecipeError(
            f"The checkpoint {path} holds no recipe: name the one that its model was built with by recipe=NAME "
            "(on the command line --recipe NAME)."
        )
    recipe = recipe_from_yaml(text, f"The recipe in {path}")
    check_names(recipe, f"in {path}")
    if not trust:
        refuse_untrusted(recipe, f"in {path}")
    return apply_overrides(recipe, overrides, trust=trust)


def classes_of(content: Mapping[str, Any], recipe: DictConfig, num_classes: int, path: str) -> ClassMap:
    """The classes of a checkpoint: its own list; else the one of the recipe's data set, if it has the file's names.

    Else the ids are contiguous, and the names are those of the file, or numbers where it has none.

    Raises:
        ValueError: its list is none, or has another number of classes than the model.
    """
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    if metadata.get("classes") is not None:
        try:
            own = ClassMap.from_plain(metadata["classes"])
        except ValueError as error:
            raise ValueError(f"The checkpoint {path} has a class list that cannot be used: {error}") from error
        if len(own) != num_classes:
            raise ValueError(f"The checkpoint {path} lists {len(own)} classes, but its model has {num_classes}.")
        return own
    names = [str(name) for name in metadata.get("thing_classes") or ()]
    known = _of_data_set(recipe)
    if known is not None and len(known) == num_classes and (not names or names == known.names):
        return known
    if len(set(names)) != num_classes or len(names) != num_classes:
        names = [f"class {index}" for index in range(num_classes)]
    return class_map(range(num_classes), names)


def _of_data_set(recipe: DictConfig) -> ClassMap | None:
    """The class list of the data set that a recipe trains on, where it is known without its files."""
    try:
        return metadata_classes(MetadataCatalog.get(first_name(recipe.dataloader.train)))
    except (AttributeError, ValueError):  # a loader of another kind, or names that make no list
        return None

"""What a recipe becomes on a data set of the user's: decided by the class of its mapper and the kind of the data.

Data sets, class counts, things, evaluators and results follow the data; sizes, augmentations, batch and all other
settings stay those of the recipe.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.config.nodes import children, containers, raw_value, target_name
from focalnet_d2.config.settings import known_target
from focalnet_d2.config.shipped_fragments import load_fragment
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.folders.dataset import FolderDataset
from focalnet_d2.data.mappers import (
    BoxAndMaskMapper,
    ClassificationMapper,
    DetectionMapper,
    InstanceMapper,
    PanopticMapper,
    SemanticMaskMapper,
    SemanticSegMapper,
)

LOADERS = ("train", "test")


@dataclass(frozen=True)
class Use:
    """How a model uses data of one kind.

    Attributes:
        kind: of the data, as they are served.
        fragment: of `configs/common/`, which has the mapper and the evaluators of this use.
        metric: of the best checkpoint, where the recipe has that of another use.
        needs_masks: objects with boxes alone will not do.
        results: what `model.inference` gives, where it can be switched.
    """

    kind: str
    fragment: str
    metric: str
    needs_masks: bool = False
    results: tuple[str, ...] = ()


_PANOPTIC = Use("panoptic", "data/coco_panoptic", "panoptic_seg/PQ", results=("semantic", "panoptic", "instance"))
_INSTANCES = Use("instances", "data/coco_instance", "segm/AP", needs_masks=True, results=("instance",))
_SEMANTIC = Use("semantic", "data/ade20k_semantic", "sem_seg/mIoU", results=("semantic",))
# By the class of the mapper, what the recipe itself trains first. Boxes and masks of things, and classes of pixels, are
# also made from panoptic data.
USES: Mapping[type, tuple[Use, ...]] = {
    DetectionMapper: (Use("instances", "data/coco_detection", "bbox/AP"),),
    BoxAndMaskMapper: (Use("instances", "data/coco_instance_800", "bbox/AP", needs_masks=True),),
    PanopticMapper: (_PANOPTIC, _INSTANCES, _SEMANTIC),
    InstanceMapper: (_INSTANCES, _PANOPTIC, _SEMANTIC),
    SemanticMaskMapper: (_SEMANTIC, _PANOPTIC, _INSTANCES),
    SemanticSegMapper: (Use("semantic", "data/ade20k_upernet", "sem_seg/mIoU"),),
    ClassificationMapper: (Use("classification", "data/imagenet", "classification/top1"),),
}
_SWITCHES = "models/mask2former"  # the fragment with all results of `model.inference`
# Settings that choose among the images or classes of the recipe's own data set, and what they are without a choice.
_CHOICES: dict[str, Any] = {"limit": None, "image_ids": None, "only_seen_images": False, "first_classes": None}


def mapper_class(recipe: DictConfig) -> type | None:
    """The class of the mapper of the training data; None where the recipe does not say it by a class."""
    target = known_target(recipe.dataloader.train.mapper)
    return target if inspect.isclass(target) else None


def uses_of(mapper: type | None) -> tuple[Use, ...]:
    """The kinds of data that a recipe with this mapper can take, its own first; none for mappers that are not ours."""
    ancestors = () if mapper is None else mapper.__mro__
    return next((USES[one] for one in ancestors if one in USES), ())


def takes(use: Use, dataset: FolderDataset) -> bool:
    """Whether a data set can be used so; boxes, masks and classes of pixels are also made from panoptic data."""
    if dataset.kind == "panoptic":
        return use.kind in ("panoptic", "instances", "semantic")
    return dataset.kind == use.kind and (dataset.has_masks or not use.needs_masks)


def fill_recipe(recipe: DictConfig, use: Use, classes: ClassMap, names: Mapping[str, str]) -> None:
    """Make the recipe train and score the registered data sets, in place.

    Args:
        classes: those of the data, after all changes.
        names: registered name by part, of "train", "val" and "test".

    Raises:
        RecipeError: the recipe's model does not say its number of classes.
    """
    test = names.get("val") or names.get("test") or names["train"]
    for loader, name in zip(LOADERS, (names.get("train", test), test)):
        recipe.dataloader[loader].dataset.names = name
    _take_task(recipe, use)
    for _, node in containers(recipe.dataloader):
        for setting, _ in list(children(node)):
            if setting in _CHOICES:
                node[setting] = _CHOICES[setting]
    _set_number(recipe, len(classes))
    _set_results(recipe, use, classes)
    recipe.train.new_classes = True


def score_part(recipe: DictConfig, name: str) -> None:
    """Score this registered data set, in place."""
    recipe.dataloader.test.dataset.names = name


def _take_task(recipe: DictConfig, use: Use) -> None:
    """Mapper, evaluators and metric of the use, unless the recipe has this mapper."""
    fragment = load_fragment(use.fragment, "dataloader")
    wanted, present = known_target(fragment.train.mapper), mapper_class(recipe)
    if present is not None and wanted is not None and issubclass(present, wanted):  # type: ignore[arg-type]
        return
    kept = _setting(recipe.dataloader.evaluator, "max_dets")
    for loader in LOADERS:
        _take_mapper(recipe.dataloader[loader].mapper, fragment[loader].mapper)
    recipe.dataloader.evaluator = OmegaConf.to_container(fragment.evaluator, resolve=False)
    for _, node in containers(recipe.dataloader.evaluator):
        if kept is not None and "max_dets" in dict(children(node)):
            node.max_dets = kept
    recipe.train.best_metric = use.metric
    recipe.train.test_time_augmentation = {"enabled": False, "wrapper": None}  # it was for other results


def _take_mapper(mapper: DictConfig, other: DictConfig) -> None:
    """The class of another mapper with the arguments that both have, and its own where the recipe has none."""
    known = dict(children(other))
    takes = inspect.signature(known_target(other) or dict).parameters
    for name in [name for name, _ in children(mapper) if name not in takes and name != "_target_"]:
        del mapper[name]
    mapper._target_ = raw_value(known["_target_"])
    for name in known.keys() - dict(children(mapper)).keys():
        mapper[name] = raw_value(known[name])


def _setting(node: Any, name: str) -> Any:
    """The value of the first setting of this name below a node; None where there is none."""
    found = (dict(children(group)) for _, group in containers(node))
    return next((raw_value(settings[name]) for settings in found if name in settings), None)


def class_counts(recipe: DictConfig, *, linked: bool = False) -> dict[str, int]:
    """Every number of classes in the recipe's model, by its key; those of a backbone are none of the data's.

    Args:
        linked: also those that are links to others.
    """
    counts = {}
    for path, node in containers(recipe.model, "model."):
        if ".backbone." not in path and isinstance(node, DictConfig) and "num_classes" in node:
            value = node["num_classes"] if linked else raw_value(node._get_node("num_classes"))
            if isinstance(value, int):
                counts[f"{path}num_classes"] = value
    return counts


def _set_number(recipe: DictConfig, number: int) -> None:
    counts = class_counts(recipe)
    if not counts:
        raise RecipeError(
            f"{target_name(recipe.model)} of this recipe has no setting num_classes, so it cannot be fitted to "
            "the data: name its data sets and classes by hand, without data=DIR."
        )
    for key in counts:
        OmegaConf.update(recipe, key, number)


def _set_results(recipe: DictConfig, use: Use, classes: ClassMap) -> None:
    """What the model tells, and which classes are things, where it has such switches."""
    inference = recipe.model.get("inference")
    if not use.results or not isinstance(inference, DictConfig) or "thing_ids" not in inference:
        return
    inference.thing_ids = classes.thing_ids if use.kind != "semantic" else []
    shipped = load_fragment(_SWITCHES, "model").inference
    for result in _PANOPTIC.results:
        if result not in use.results:
            inference[result] = None
        elif inference.get(result) is None:
            inference[result] = OmegaConf.to_container(shipped[result], resolve=False)

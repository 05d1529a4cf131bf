"""The checks of labels, by their kind: of one image, and of a whole part."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..annotations.faults import Fault
from ..annotations.instances import CocoInstances
from ..folders.dataset import FolderDataset
from .instances import check_instances_of_image, check_instances_of_part
from .panoptic import check_panoptic_image
from .semantic import check_semantic_image, check_semantic_part
from .stored_instances import StoredInstances
from .tasks import LabelFindings, LabelTask, RecipeLimits

_OF_IMAGE = {
    "instances": check_instances_of_image,
    "panoptic": check_panoptic_image,
    "semantic": check_semantic_image,
}


def check_image_labels(task: LabelTask) -> LabelFindings:
    """What is wrong with the labels of one image, and what the check of the whole part needs to know of them."""
    if task.kind == "classification":
        return LabelFindings(counts=Counter(("class", entry["category_id"]) for entry in task.labels))
    return _OF_IMAGE[task.kind](task)


def check_file(
    dataset: FolderDataset, part: str, content: Any, counts: Mapping[Any, int], limits: RecipeLimits
) -> list[Fault]:
    """What is wrong with a part as a whole, once its images were looked at.

    Args:
        part: a key of `dataset.parts`.
        content: what `tasks.read_for_checks` gives.
        counts: `LabelFindings.counts` of all of its images, added up.
        limits: of the recipe.
    """
    if isinstance(content, CocoInstances | StoredInstances):
        return check_instances_of_part(content, limits)
    if dataset.kind == "semantic" and isinstance(content, Sequence):
        source, options = dataset.parts[part].annotations, dataset.parts[part].options
        return check_semantic_part(source, dataset.classes, set(options.get("ignored", ())), counts)
    return []

"""From a data set that was found in a folder to names in Detectron2's catalogs."""

from functools import partial
from typing import Any

from ..class_changes import ClassChanges
from ..class_map import ClassMap
from ..class_metadata import class_metadata
from ..datasets.custom import replace_dataset
from ..label_decoding import ignore_label_of
from .dataset import FolderDataset
from .layouts import LAYOUTS
from .records import load_instances_truth, load_records

PREFIX = "data"
_EVALUATOR_TYPES = {
    "instances": "coco",
    "panoptic": "coco_panoptic_seg",
    "semantic": "sem_seg",
    "classification": "classification",
}


def register_dataset(
    dataset: FolderDataset,
    changes: ClassChanges = ClassChanges(),  # noqa: B008  frozen
    *,
    prefix: str = PREFIX,
) -> dict[str, str]:
    """Registers every part of a data set, in place of what its name meant before. Reads nothing.

    The metadata have the class list after the changes as `classes`, and of boxes and masks `instances_source`, which
    gives their truth to evaluators.

    Args:
        dataset: with the lists of `write_lists`, or else the split is made whenever a part is read.
        changes: classes that are renamed, merged or dropped, in annotations, truth and metadata alike.
        prefix: of the names.

    Returns:
        Part -> registered name: {"train": "data_train", "val": "data_val", ...}.

    Raises:
        ValueError: changes that do not fit the classes.
    """
    return {part: register_part(f"{prefix}_{part}", dataset, part, changes) for part in dataset.parts}


def register_part(
    name: str,
    dataset: FolderDataset,
    part: str,
    changes: ClassChanges = ClassChanges(),  # noqa: B008  frozen
) -> str:
    """Registers one part of a data set under any name; see `register_dataset`.

    Returns:
        name.

    Raises:
        ValueError: changes that do not fit the classes.
    """
    metadata = _metadata(dataset, part, changes.changed(dataset.classes))
    if dataset.kind == "instances":
        metadata["instances_source"] = partial(load_instances_truth, dataset, part, changes)
    replace_dataset(name, partial(load_records, dataset, part, changes), **metadata)
    return name


def _metadata(dataset: FolderDataset, part: str, classes: ClassMap) -> dict[str, Any]:
    source = dataset.parts[part]
    metadata = {
        **class_metadata(classes, dataset.kind),
        "classes": classes,
        "image_root": source.images,
        "evaluator_type": _EVALUATOR_TYPES[dataset.kind],
    }
    if dataset.kind == "semantic":
        metadata["ignore_label"] = ignore_label_of(classes)
    if LAYOUTS[dataset.layout].kind == dataset.kind == "panoptic":
        metadata |= {"panoptic_json": source.annotations, "panoptic_root": source.options["panoptic_root"]}
    return metadata

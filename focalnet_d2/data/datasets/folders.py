"""Registers data sets of one's own that lie in folders: found by looking, or with every path named. Reads no part."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..class_changes import ClassChanges
from ..class_map import ClassMap, class_map
from ..class_metadata import class_metadata
from ..folders.dataset import AUTO, KINDS, FolderDataset, Part
from ..folders.finding import choose_dataset, find_datasets
from ..folders.layouts import LAYOUTS
from ..folders.records import load_instances_truth, load_records
from ..label_decoding import ignore_label_of
from ..shards.files import note_root
from .custom import register_coco_folder, replace_dataset

Path = str | os.PathLike

PREFIX = "data"
_EVALUATOR_TYPES = {
    "instances": "coco",
    "panoptic": "coco_panoptic_seg",
    "semantic": "sem_seg",
    "classification": "classification",
}


def register_folder(name: str, root: Path, part: str = "train", *, layout: str = AUTO, kind: str = "") -> str:
    """Registers one part of the data set that a folder holds, whatever its layout is.

    The folder is looked at now, the part is read when it is used; a repeated name is replaced. Without a validation
    part a fifth of the training images are one, always the same.

    Args:
        name: name for `DatasetCatalog`.
        root: the folder.
        part: "train", "val" or "test".
        layout: which one of several readings, as `data.layout` says it.
        kind: "instances", "panoptic", "semantic" or "classification", needed where the folder holds several; of a
            panoptic set the first three can be had.

    Returns:
        name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds nothing that is known, several kinds or readings, or no such part.
    """
    found = find_datasets(root, layout=layout)
    kinds = sorted({one.kind for one in found}, key=KINDS.index)
    if len(kinds) > 1 and not kind:
        raise ValueError(f"{found[0].root} holds {' and '.join(kinds)}: choose by kind={kinds[0]!r} or another.")
    dataset = choose_dataset(found, [kind or kinds[0]])
    if part not in dataset.parts:
        raise ValueError(f"{dataset.root} has the parts {', '.join(dataset.parts)}, not {part!r}: name one of them.")
    return register_part(name, dataset, part)


def register_instances(name: str, json_file: Path, images: Path) -> str:
    """Registers boxes and masks in COCO's instances format. Reads nothing; a repeated name is replaced.

    Args:
        name: name for `DatasetCatalog`.
        json_file: the annotation file.
        images: folder that the names in it begin at.

    Returns:
        name.
    """
    return register_coco_folder(name, os.fspath(json_file), os.fspath(images))


def register_semantic_folder(
    name: str, images: Path, labels: Path, classes: Sequence[str] | Mapping[int, str], ignore_value: int | None = 255
) -> str:
    """Registers images with label files of the same names, with or without what tools append ("_mask").

    Reads nothing; a repeated name is replaced.

    Args:
        name: name for `DatasetCatalog`.
        images: folder of the images; sub-folders are those of `labels`.
        labels: folder of the label files (PNG, BMP, TIFF) of one channel, or with a palette, whose index is the value.
        classes: names of the classes with the values 0, 1, ...; or name by value.
        ignore_value: value of pixels without a class; None if every pixel has one.

    Returns:
        name.

    Raises:
        ValueError: names that occur twice, or an `ignore_value` that is a class.
    """
    names = dict(classes) if isinstance(classes, Mapping) else dict(enumerate(classes))
    if ignore_value in names:
        raise ValueError(
            f"ignore_value={ignore_value} is the class {names[ignore_value]!r} of {name}: give pixels without a class "
            "another value, or pass ignore_value=None."
        )
    image_folder, label_folder = os.path.abspath(images), os.path.abspath(labels)
    ignored = [] if ignore_value is None else [ignore_value]
    part = Part(image_folder, label_folder, {"ignored": ignored})
    dataset = FolderDataset(
        root=os.path.commonpath([image_folder, label_folder]),
        layout="semantic",
        kind="semantic",
        parts={"train": part},
        classes=class_map(list(names), list(names.values()), things=False),
    )
    return register_part(name, dataset, "train")


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
    note_root(dataset.root)
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

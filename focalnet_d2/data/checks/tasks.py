"""One task for each image of a part, made when it is asked for."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..annotations.instances import CocoInstances
from ..annotations.panoptic import PanopticAnnotations
from ..class_changes import ClassChanges
from ..folders.dataset import FolderDataset
from ..folders.image_lists import image_name
from ..folders.records import part_decoding
from .contract import LabelTask, RecipeLimits


def tasks_of(dataset: FolderDataset, part: str, content: Any, limits: RecipeLimits) -> Iterator[LabelTask]:
    """What is to be asked about each image.

    Args:
        part: a key of `dataset.parts`.
        content: what the layout reads of it, see `layout.Layout.read`; nothing for a classification set, whose images
            have no label but their class.
    """
    if isinstance(content, CocoInstances):
        return _instances_tasks(dataset, content, limits)
    if isinstance(content, PanopticAnnotations):
        return _panoptic_tasks(dataset, content, limits)
    return _listed_tasks(dataset, part, content, limits)


def _instances_tasks(dataset: FolderDataset, content: CocoInstances, limits: RecipeLimits) -> Iterator[LabelTask]:
    classes = _class_ids(dataset)
    objects: dict[Any, list] = defaultdict(list)
    for entry in content.annotations or ():
        objects[entry["image_id"]].append(entry)
    for image in content.images:
        if not isinstance(image.get("file_name"), str):  # `check_file` names them
            continue
        yield LabelTask(
            kind="instances",
            source=content.source,
            image_id=image["id"],
            image_file=image["file_name"],
            image=image,
            labels=objects.get(image["id"], ()),
            classes=classes,
            limits=limits,
        )


def _panoptic_tasks(dataset: FolderDataset, content: PanopticAnnotations, limits: RecipeLimits) -> Iterator[LabelTask]:
    classes = _class_ids(dataset)
    things = tuple(entry.dataset_id for entry in dataset.classes.classes if entry.is_thing)
    for image_id, annotation in content.segments.items():
        image = content.images[image_id]
        yield LabelTask(
            kind="panoptic",
            source=content.source,
            image_id=image_id,
            image_file=image["file_name"],
            image=image,
            labels=annotation["segments_info"],
            label_file=annotation["file_name"],
            classes=classes,
            things=things,
            limits=limits,
        )


def _listed_tasks(dataset: FolderDataset, part: str, content: Any, limits: RecipeLimits) -> Iterator[LabelTask]:
    """Of a semantic or classification set."""
    classes, is_semantic = _class_ids(dataset), dataset.kind == "semantic"
    decoding = part_decoding(dataset, part, ClassChanges()) if is_semantic else None
    for listed in content:
        yield LabelTask(
            kind=dataset.kind,
            source=dataset.parts[part].annotations,
            image_id=image_name(listed.file_name, dataset.parts[part]),
            image_file=listed.file_name,
            labels=() if is_semantic else ({"category_id": listed.truth},),
            label_file=str(listed.truth) if is_semantic else "",
            classes=classes,
            decoding=decoding,
            limits=limits,
        )


def _class_ids(dataset: FolderDataset) -> tuple:
    return tuple(dataset.classes.contiguous)

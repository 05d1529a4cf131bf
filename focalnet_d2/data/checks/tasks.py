"""What is asked about the labels of each image of a part, made when it is asked for, and what is answered."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..annotations.faults import Fault, Report
from ..annotations.ids import Id
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.panoptic import PanopticAnnotations
from ..class_changes import ClassChanges
from ..folders import coco, coco_panoptic
from ..folders.dataset import FolderDataset, Part, image_name
from ..folders.layouts import LAYOUTS
from ..folders.records import part_decoding
from ..folders.same_classes import OPTION
from ..label_decoding import LabelDecoding
from .stored_entries import EntryStore
from .stored_instances import StoredInstances, store_gathered, store_instances
from .stored_panoptic import StoredPanoptic, store_panoptic


@dataclass(frozen=True)
class RecipeLimits:
    """What a recipe makes of images and objects; None where no recipe is known.

    Attributes:
        queries: objects that it can find in an image.
        short_side, long_side: pixels of the image in evaluation: the short side gets that length unless the long one
            would exceed its own.
        masks: whether it learns masks of objects.
        channels: as `data.channels` of a run says; None for 8-bit colors.
    """

    queries: int | None = None
    short_side: int | None = None
    long_side: int | None = None
    masks: bool | None = None
    channels: int | tuple[int, ...] | None = None


@dataclass(frozen=True)
class LabelTask:
    """What is asked about the labels of one image; small and picklable.

    Attributes:
        kind: "instances", "panoptic" or "semantic".
        source: what has the labels, for the faults: the annotation file, or of a semantic set their folder.
        image_id: as faults name the image.
        image_file: path of the image.
        image: its entry in the annotation file.
        labels: its annotations, or its segments.
        label_file: path of its PNG; "" for instances.
        classes: ids of the classes in the files.
        things: those of them that are countable.
        decoding: of a semantic set, what the values of its label files mean.
        limits: of the recipe.
        size: height and width of the decoded image as training sees it, turned upright; None where it cannot be read.
    """

    kind: str
    source: str
    image_id: Id
    image_file: str
    image: Entry = field(default_factory=dict)
    labels: Sequence[Entry] = ()
    label_file: str = ""
    classes: Sequence[Any] = ()
    things: Sequence[Any] = ()
    decoding: LabelDecoding | None = None
    limits: RecipeLimits = RecipeLimits()
    size: tuple[int, int] | None = None


@dataclass
class LabelFindings:
    """What the labels of one image, or of many, have shown.

    Attributes:
        faults: of the images; many of one kind until they are `faults.joined`.
        counts: what the checks of the whole part need, added up over its images: ("class", id) -> objects,
            ("value", class id, or another value of label files) -> pixels.
    """

    faults: list[Fault] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


def read_for_checks(dataset: FolderDataset, part: str, report: Report) -> Any:
    """What a part has, if big as `StoredInstances` or `StoredPanoptic`, else as its layout reads it, with equal faults.

    Args:
        part: a key of `dataset.parts`.
        report: gets the faults.

    Raises:
        FileNotFoundError, ValueError: nothing is left to look at.
    """
    source, layout = dataset.parts[part], LAYOUTS[dataset.layout]
    if layout.gather is not None:
        return store_gathered(layout.gather(source, report, EntryStore), source, report)
    stored = _stored(dataset.layout, source, report)
    return layout.read(source, report) if stored is None else stored


def _stored(layout: str, part: Part, report: Report) -> StoredInstances | StoredPanoptic | None:
    """What a big file of COCO has; None of others."""
    if layout == coco_panoptic.LAYOUT.name:
        return store_panoptic(part)
    return store_instances(part, report) if layout == coco.LAYOUT.name and OPTION not in part.options else None


def tasks_of(dataset: FolderDataset, part: str, content: Any, limits: RecipeLimits) -> Iterator[LabelTask]:
    """What is to be asked about each image.

    Args:
        part: a key of `dataset.parts`.
        content: what `read_for_checks` gives; nothing for a classification set, whose images
            have no label but their class.
    """
    if isinstance(content, CocoInstances | StoredInstances):
        return _instances_tasks(dataset, content, limits)
    if isinstance(content, PanopticAnnotations | StoredPanoptic):
        return _panoptic_tasks(dataset, content, limits)
    return _listed_tasks(dataset, part, content, limits)


def _instances_tasks(
    dataset: FolderDataset, content: CocoInstances | StoredInstances, limits: RecipeLimits
) -> Iterator[LabelTask]:
    classes = _class_ids(dataset)
    for image, labels in content.grouped() if isinstance(content, StoredInstances) else _grouped(content):
        if "file_name" not in image:  # which reading has reported
            continue
        yield LabelTask(
            kind="instances",
            source=content.source,
            image_id=image["id"],
            image_file=image["file_name"],
            image=image,
            labels=labels,
            classes=classes,
            limits=limits,
        )


def _grouped(content: CocoInstances) -> Iterator[tuple[Entry, list[Entry]]]:
    """Every image with its annotations."""
    objects: dict[Any, list[Entry]] = defaultdict(list)
    for entry in content.annotations or ():
        objects[entry["image_id"]].append(entry)
    yield from ((image, objects.get(image["id"], [])) for image in content.images)


def _panoptic_tasks(
    dataset: FolderDataset, content: PanopticAnnotations | StoredPanoptic, limits: RecipeLimits
) -> Iterator[LabelTask]:
    classes = _class_ids(dataset)
    things = tuple(entry.dataset_id for entry in dataset.classes.classes if entry.is_thing)
    for image, annotation in content.pairs() if isinstance(content, StoredPanoptic) else _paired(content):
        yield LabelTask(
            kind="panoptic",
            source=content.source,
            image_id=image["id"],
            image_file=image["file_name"],
            image=image,
            labels=annotation["segments_info"],
            label_file=annotation["file_name"],
            classes=classes,
            things=things,
            limits=limits,
        )


def _paired(content: PanopticAnnotations) -> Iterator[tuple[Entry, Entry]]:
    """Every image that has an annotation, with that."""
    return ((content.images[key], annotation) for key, annotation in content.segments.items())


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

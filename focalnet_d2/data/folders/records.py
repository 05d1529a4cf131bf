"""Dataset dicts of a part, by the class list that a run has: classes renamed, merged and dropped on the way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from focalnet_d2.utils.text import some_of

from ..annotations.ids import Id
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.panoptic import PanopticAnnotations
from ..class_changes import ClassChanges
from ..class_map import ClassMap
from ..instance_dicts import dataset_dicts
from ..label_decoding import LabelDecoding, label_decoding
from ..packed.records import PackedRecords
from .dataset import FolderDataset, ListedImage, image_name
from .image_lists import files_of_part, has_all_images, packed_files, read_part
from .layouts import LAYOUTS
from .panoptic_instances import instances_of_panoptic


def load_records(dataset: FolderDataset, part: str, changes: ClassChanges) -> Sequence[dict[str, Any]]:
    """Dataset dicts in Detectron2's format, classes contiguous in the order of the changed list; of a big COCO file
    `PackedRecords`.

    Raises:
        FileNotFoundError, ValueError: the files cannot be used, or have other classes than when they were found.
    """
    return _RECORDS[LAYOUTS[dataset.layout].kind, dataset.kind](dataset, part, changes)


def load_instances_truth(dataset: FolderDataset, part: str, changes: ClassChanges) -> CocoInstances:
    """Boxes and masks of a part with the ids and names of the changed class list, for training and scoring alike.

    Raises:
        FileNotFoundError, ValueError: as `load_records`.
    """
    content = read_part(dataset, part)
    if isinstance(content, PanopticAnnotations):
        _check_classes(
            {one["id"]: one["name"] for one in content.categories if one["isthing"]}, dataset, content.source
        )
        content = instances_of_panoptic(content, dataset.classes)
    _check_classes(content.class_names, dataset, content.source)
    classes, new_ids = changes.changed(dataset.classes), changes.new_ids(dataset.classes)
    annotations = content.annotations
    if annotations is not None:
        annotations = [
            {**entry, "category_id": new_id}
            for entry in annotations
            if (new_id := new_ids[entry["category_id"]]) is not None
        ]
        if part == "train" and not annotations:
            raise _nothing_to_learn(content.source, classes)
    names = {entry.dataset_id: entry.name for entry in classes.classes}
    return replace(content, class_names=names, annotations=annotations)


def _instance_records(dataset: FolderDataset, part: str, changes: ClassChanges) -> Sequence[dict[str, Any]]:
    if (packed := _packed_records(dataset, part, changes)) is not None:
        return packed
    content = load_instances_truth(dataset, part, changes)
    return dataset_dicts(content, "", changes.changed(dataset.classes).contiguous)


def _packed_records(dataset: FolderDataset, part: str, changes: ClassChanges) -> PackedRecords | None:
    """Those of a big COCO file."""
    source = dataset.parts[part]
    if (packed := LAYOUTS[dataset.layout].read_packed(source)) is None:
        return None
    records = packed.records
    if not has_all_images(dataset, part):
        chosen = files_of_part(dataset, part, packed_files(records))
        records = records.select([place for place, file in enumerate(records.file_names()) if file in chosen])
    _check_classes(packed.class_names, dataset, source.annotations)
    classes, new_ids = changes.changed(dataset.classes), changes.new_ids(dataset.classes)
    ids = [new_ids[key] for key in packed.class_names]
    records = records.with_classes([-1 if new_id is None else classes.contiguous.get(new_id, -1) for new_id in ids])
    if part == "train" and not records.annotation_counts().any():
        raise _nothing_to_learn(source.annotations, classes)
    return records


def _panoptic_records(dataset: FolderDataset, part: str, changes: ClassChanges) -> list[dict[str, Any]]:
    """Also of semantic sets that are made from panoptic ones: label maps are made from segments where they are read."""
    content: PanopticAnnotations = read_part(dataset, part)
    _check_classes({one["id"]: one["name"] for one in content.categories}, dataset, content.source)
    classes, new_ids = changes.changed(dataset.classes), changes.new_ids(dataset.classes)
    records = [
        {
            "file_name": content.images[image_id]["file_name"],
            "image_id": image_id,
            "height": content.images[image_id]["height"],
            "width": content.images[image_id]["width"],
            "pan_seg_file_name": annotation["file_name"],
            **_changed_segments(annotation["segments_info"], classes, new_ids),
        }
        for image_id, annotation in sorted(content.segments.items())
    ]
    if part == "train" and not any(record["segments_info"] for record in records):
        raise _nothing_to_learn(content.source, classes)
    return records


def _changed_segments(segments: list[Entry], classes: ClassMap, new_ids: dict[Id, Id | None]) -> dict[str, Any]:
    """`segments_info` with contiguous classes and without areas, which are counted from pixels; and, where classes were
    dropped or stuff was merged, `renumbered_segments`: the id that takes the place of an id of the PNG, 0 for none."""
    merged = {new for old, new in new_ids.items() if new not in (None, old)}
    kept: list[dict[str, Any]] = []
    renumbered: dict[int, int] = {}
    owners: dict[tuple, int] = {}  # of merged stuff, the segment that the others of an image become a part of
    for segment in segments:
        number, new_id, crowd = segment["id"], new_ids[segment["category_id"]], segment["iscrowd"]
        if new_id is None:
            renumbered[number] = 0
            continue
        index = classes.contiguous[new_id]
        is_thing = classes.classes[index].is_thing
        if not is_thing and new_id in merged and (owner := owners.setdefault((new_id, crowd), number)) != number:
            renumbered[number] = owner
            continue
        kept.append({"id": number, "category_id": index, "isthing": is_thing, "iscrowd": crowd})
    return {"segments_info": kept} | ({"renumbered_segments": renumbered} if renumbered else {})


def _check_classes(found: dict[Id, str], dataset: FolderDataset, source: str) -> None:
    """Whether the classes of a file are still those that were found."""
    known = {entry.dataset_id: entry.name for entry in dataset.classes.classes}
    if new := [f"{key!r} ({name})" for key, name in found.items() if known.get(key) != name]:
        raise ValueError(
            f"{source} has the classes {some_of(new, 5)}, which are not those of this run: the file has changed since "
            "its class list was read; start again with data=DIR."
        )


def _semantic_records(dataset: FolderDataset, part: str, changes: ClassChanges) -> list[dict[str, Any]]:
    decoding = part_decoding(dataset, part, changes)
    return [
        {
            "file_name": image.file_name,
            "image_id": image_name(image.file_name, dataset.parts[part]).rpartition(".")[0],
            "sem_seg_file_name": image.truth,
            "label_decoding": decoding,
        }
        for image in read_part(dataset, part)
    ]


def part_decoding(dataset: FolderDataset, part: str, changes: ClassChanges) -> LabelDecoding:
    """What the values of the label files of a semantic set's part mean."""
    options = dataset.parts[part].options
    colors = {value: (red, green, blue) for value, red, green, blue in options.get("colors", ())} or None
    return label_decoding(dataset.classes, changes, ignored=tuple(options.get("ignored", ())), colors=colors)


def _classification_records(dataset: FolderDataset, part: str, changes: ClassChanges) -> list[dict[str, Any]]:
    classes, new_ids = changes.changed(dataset.classes), changes.new_ids(dataset.classes)
    images: Sequence[ListedImage] = read_part(dataset, part)
    _check_classes({image.truth: str(image.truth) for image in images}, dataset, dataset.parts[part].annotations)
    return [
        {
            "file_name": image.file_name,
            "image_id": image_name(image.file_name, dataset.parts[part]),
            "class_id": classes.contiguous[new_id],
        }
        for image in images
        if (new_id := new_ids[image.truth]) is not None
    ]


def _nothing_to_learn(source: str, classes: ClassMap) -> ValueError:
    return ValueError(f"No training image of {source} has any of the classes {some_of(classes.names, 5)}: add some.")


_RECORDS = {  # by the kind of the layout and the kind that is served
    ("instances", "instances"): _instance_records,
    ("panoptic", "instances"): _instance_records,
    ("panoptic", "panoptic"): _panoptic_records,
    ("panoptic", "semantic"): _panoptic_records,
    ("semantic", "semantic"): _semantic_records,
    ("classification", "classification"): _classification_records,
}

"""A mended COCO instances file: of one that was read with all its faults, or of another layout with boxes and masks."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from focalnet_d2.utils.text import some_of

from ..annotations.instances import CocoInstances, check_instances
from ..annotations.json_file import Entry, read_json
from ..folders.dataset import Part
from ..folders.layouts import LAYOUTS
from ..folders.same_classes import OPTION, translate
from .changes import Snapshot
from .images import ImageFolder
from .json_files import write_json
from .objects import as_crowds_without_masks, mend_objects
from .task import Task


def write_instances(task: Task, folder: ImageFolder, path: Path) -> None:
    """Writes the mended annotations of a part, and its images.

    Args:
        folder: for the images.
        path: of the JSON.

    Raises:
        ValueError: nothing is left that could be found.
    """
    dataset, changes = task.dataset, task.changes
    raw, content, before = _read(task)
    images, reasons = place_images(content.images, folder, task)
    kept = {image["id"] for image in images}
    annotations = None
    if content.annotations is not None:
        of_kept = [entry for entry in content.annotations if entry["image_id"] in kept]
        why = {id(entry): "its image is left out" for entry in content.annotations if entry["image_id"] not in kept}
        is_converted = dataset.layout != "coco"
        annotations = mend_objects(of_kept, images, content.source, changes, why, is_converted=is_converted)
        if not task.only_boxes:
            annotations = as_crowds_without_masks(annotations, images, why)
        before.compare("annotations", annotations, content.source, changes, why)
    before.compare("images", images, content.source, changes, reasons)
    categories = _categories(raw, content, task.part)
    before.compare("categories", categories, content.source, changes)
    if dataset.layout != "coco":
        _number(images, annotations or [])
    mended = {**raw, "images": images, "categories": categories}
    if annotations is not None:
        mended["annotations"] = annotations
    write_json(mended, path)
    _check(mended, content.source)


def _read(task: Task) -> tuple[dict[str, Any], CocoInstances, Snapshot]:
    """The other keys of the file, what is usable of it with absolute file names, and the entries as they were."""
    part, dataset, changes = task.part, task.dataset, task.changes
    if dataset.layout != "coco":
        content = LAYOUTS[dataset.layout].read(part, changes.fault)
        lists = {"images": content.images, "categories": [], "annotations": content.annotations or []}
        return {}, content, Snapshot(lists)
    raw = read_json(part.annotations)
    before = Snapshot({key: raw.get(key, []) for key in ("images", "categories", "annotations")})
    content = translate(check_instances(raw, part.annotations, changes.fault), part)
    found = LAYOUTS["coco"].read(part, changes.choice)  # once more, for the paths that it finds
    paths = {image["id"]: image["file_name"] for image in found.images if "file_name" in image}
    for image in content.images:
        image["file_name"] = paths.get(image["id"])
    return raw, replace(content, class_names=found.class_names), before


def place_images(images: Sequence[Entry], folder: ImageFolder, task: Task) -> tuple[list[Entry], dict[int, str]]:
    """Puts images with absolute file names into the copy, and writes their names and sizes into their entries.

    Returns:
        Those that can be used, and why others cannot, by Python's `id` of them.
    """
    kept, reasons = [], {}
    for image in images:
        said = (image["height"], image["width"]) if {"height", "width"} <= image.keys() else None
        try:
            if image["id"] in task.left_out:
                raise ValueError(task.left_out[image["id"]])
            if not isinstance(image.get("file_name"), str):
                raise ValueError("it names no file")
            placed = folder.place(image["file_name"], said)
        except (ValueError, OSError) as error:
            reasons[id(image)] = str(error)
            continue
        if placed.what:
            task.changes.add(image["file_name"], image["id"], placed.what)
        image["file_name"], (image["height"], image["width"]) = placed.name, placed.size
        kept.append(image)
    return kept, reasons


def _number(images: Sequence[Entry], annotations: Sequence[Entry]) -> None:
    """Whole numbers for ids of images that are names, as COCO's own tools expect them."""
    numbers = {image["id"]: number for number, image in enumerate(images, 1)}
    for entry in annotations:
        entry["image_id"] = numbers[entry["image_id"]]
    for image in images:
        image["id"] = numbers[image["id"]]


def _categories(raw: dict[str, Any], content: CocoInstances, part: Part) -> list[Entry]:
    """The entries of the file with their ids and names as they were read."""
    entries: dict[Any, Entry] = {}
    other = dict(map(tuple, part.options.get(OPTION, ())))
    for entry in raw.get("categories", ()):
        key = other.get(entry.get("id"), entry.get("id")) if isinstance(entry, dict) else None
        if key in content.class_names and key not in entries:
            entry["id"] = key
            entries[key] = entry
    for key, name in content.class_names.items():
        entries.setdefault(key, {"id": key})["name"] = name
    return list(entries.values())


def _check(mended: dict[str, Any], source: str) -> None:
    """Whether the rules of reading take what was written."""
    try:
        check_instances(mended, source)
    except ValueError as error:
        missing = some_of(key for key in ("images", "annotations") if not mended.get(key))
        hint = f" No {missing} that can be used are left." if missing else ""
        raise ValueError(f"{source} cannot be mended: {error}{hint}") from error

"""Reads data sets in COCO's panoptic format: a JSON of segments, and one PNG of segment ids for every image.

Unlike Detectron2's loader it takes category ids with any gaps, image names from the JSON and images of any
type, and says what is wrong with a file instead of failing in the middle of a training.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from detectron2.data import MetadataCatalog

from focalnet_d2.utils.text import some_of

from ..panoptic_labels import LARGEST_ID

LABEL_DIVISOR = 1000
IGNORE_LABEL = 255


def load_panoptic(
    name: str, panoptic_json: str, panoptic_root: str, image_root: str, sem_seg_root: str | None = None
) -> list[dict]:
    """Dataset dicts of a registered panoptic set, images in the order of their ids.

    Fills in the metadata of `name` unless its categories were registered.

    Args:
        sem_seg_root: folder of semantic PNGs named like the panoptic ones; left out where there is no such
            folder.

    Returns:
        Dicts with file_name, image_id, height, width, pan_seg_file_name, segments_info (category_id contiguous,
        isthing, iscrowd, the rest as in the file) and, where sem_seg_root exists, sem_seg_file_name.

    Raises:
        FileNotFoundError: a PNG is missing.
        ValueError: the JSON is damaged, has another format, or contradicts itself or the registered categories.
    """
    content = _read_json(panoptic_json)
    metadata = MetadataCatalog.get(name)
    _check_categories(content["categories"], panoptic_json)
    if metadata.get("stuff_dataset_id_to_contiguous_id") is None:
        metadata.set(**panoptic_metadata(things_first(content["categories"])))
    contiguous = metadata.stuff_dataset_id_to_contiguous_id
    _check_registered(content["categories"], contiguous, metadata.stuff_classes, panoptic_json)
    images = _by_id(content["images"], "id", f"{panoptic_json} lists", panoptic_json)
    annotations = _by_id(content["annotations"], "image_id", f"{panoptic_json} has annotations of", panoptic_json)
    _check_files(panoptic_root, [annotation["file_name"] for annotation in annotations.values()])
    records = []
    for image_id in sorted(annotations):
        if image_id not in images:
            raise ValueError(f"{panoptic_json} has an annotation of image {image_id}, which is not in its images.")
        image, annotation = images[image_id], annotations[image_id]
        record = {
            "file_name": os.path.join(image_root, image["file_name"]),
            "image_id": image_id,
            "height": image["height"],
            "width": image["width"],
            "pan_seg_file_name": os.path.join(panoptic_root, annotation["file_name"]),
            "segments_info": _segments(annotation, contiguous, metadata, panoptic_json),
        }
        if sem_seg_root is not None and os.path.isdir(sem_seg_root):
            record["sem_seg_file_name"] = os.path.join(sem_seg_root, annotation["file_name"])
        records.append(record)
    return records


def things_first(categories: Iterable[dict]) -> list[dict]:
    """Categories in the order of COCO's contiguous ids: things by id, then stuff by id."""
    return sorted(categories, key=lambda category: (not category["isthing"], category["id"]))


def panoptic_metadata(categories: Iterable[dict]) -> dict:
    """Detectron2's metadata of a panoptic set.

    Args:
        categories: id, name, isthing and, if known, color (RGB), in the order of the contiguous ids.

    Returns:
        thing_classes and stuff_classes (both the names of all K classes, so that a contiguous id is an index of
        either), thing_dataset_id_to_contiguous_id (things only), stuff_dataset_id_to_contiguous_id (all K),
        label_divisor, ignore_label, and thing_colors and stuff_colors where every category has a colour.
    """
    categories = list(categories)
    names = [category["name"] for category in categories]
    contiguous = {category["id"]: index for index, category in enumerate(categories)}
    things = {category["id"] for category in categories if category["isthing"]}
    metadata = {
        "thing_classes": names,
        "stuff_classes": list(names),
        "thing_dataset_id_to_contiguous_id": {i: index for i, index in contiguous.items() if i in things},
        "stuff_dataset_id_to_contiguous_id": contiguous,
        "label_divisor": LABEL_DIVISOR,
        "ignore_label": IGNORE_LABEL,
    }
    if all("color" in category for category in categories):
        colors = [list(category["color"]) for category in categories]
        metadata.update(thing_colors=colors, stuff_colors=list(colors))
    return metadata


def _read_json(panoptic_json: str) -> dict:
    try:
        content = json.loads(Path(panoptic_json).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{panoptic_json} is not valid JSON ({error}).") from error
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{panoptic_json} has no {', '.join(missing)}, so it is not in COCO's panoptic format.")
    if any("segments_info" not in annotation for annotation in content["annotations"]):
        raise ValueError(
            f"{panoptic_json} has annotations without segments_info, so it is not in COCO's panoptic format; "
            "is it an instances file?."
        )
    return content


def _check_categories(categories: list[dict], panoptic_json: str) -> None:
    for category in categories:
        if missing := [key for key in ("id", "name", "isthing") if key not in category]:
            raise ValueError(f"{panoptic_json} has a category without {', '.join(missing)}: {category}.")
    for key in ("id", "name"):
        if repeated := _repeated(category[key] for category in categories):
            raise ValueError(f"{panoptic_json} has more than one category with the {key} {repeated}.")


def _check_registered(categories: list[dict], contiguous: dict, names: list[str], panoptic_json: str) -> None:
    found = {(category["id"], category["name"].strip()) for category in categories}  # ADE20K has "window "
    registered = {(category_id, names[index].strip()) for category_id, index in contiguous.items()}
    if differences := sorted(found ^ registered, key=str):
        listed = some_of((f"{category_id} ({name})" for category_id, name in differences), 5)
        raise ValueError(f"{panoptic_json} and the registered categories differ in {listed}.")


def _by_id(entries: list[dict], key: str, what: str, panoptic_json: str) -> dict:
    if any(key not in entry for entry in entries):
        raise ValueError(f"{panoptic_json} has an entry without {key}.")
    if repeated := _repeated(entry[key] for entry in entries):
        raise ValueError(f"{what} image {repeated} more than once.")
    return {entry[key]: entry for entry in entries}


def _repeated(values: Iterable) -> str:
    """The first values that occur more than once, for a message; empty if there are none."""
    return ", ".join(str(value) for value, count in Counter(values).items() if count > 1)


def _check_files(panoptic_root: str, file_names: list[str]) -> None:
    present = set(os.listdir(panoptic_root))
    for file_name in file_names:
        if file_name not in present and not os.path.exists(os.path.join(panoptic_root, file_name)):
            raise FileNotFoundError(f"The panoptic PNG {os.path.join(panoptic_root, file_name)} does not exist.")


def _segments(annotation: dict, contiguous: dict, metadata, panoptic_json: str) -> list[dict]:
    """segments_info of an image with contiguous classes."""
    where = f"{panoptic_json}, image {annotation['image_id']}:"
    segments = annotation["segments_info"]
    for segment in segments:
        segment_id, category_id = segment.get("id"), segment.get("category_id")
        if category_id not in contiguous:
            problem = "has no category" if category_id is None else f"has the unknown category id {category_id}"
            raise ValueError(f"{where} segment {segment_id} {problem}.")
        if not isinstance(segment_id, int) or not 0 < segment_id <= LARGEST_ID:
            raise ValueError(f"{where} segment id {segment_id} must be a number from 1 to {LARGEST_ID}.")
    if repeated := _repeated(segment["id"] for segment in segments):
        raise ValueError(f"{where} more than one segment has the id {repeated}.")
    return [
        {
            **segment,
            "category_id": contiguous[segment["category_id"]],
            "isthing": segment["category_id"] in metadata.thing_dataset_id_to_contiguous_id,
            "iscrowd": segment.get("iscrowd", 0),
        }
        for segment in segments
    ]

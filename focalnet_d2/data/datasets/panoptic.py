"""Reads data sets in COCO's panoptic format: a JSON of segments, and one PNG of segment ids for every image.

Unlike Detectron2's loader it takes category ids with any gaps, image names from the JSON and images of any
type, and says what is wrong with a file instead of failing in the middle of a training.
"""

import os
from collections.abc import Iterable, Sequence

from detectron2.data import Metadata, MetadataCatalog

from focalnet_d2.utils.text import some_of

from ..annotations.panoptic import PanopticAnnotations, read_panoptic
from ..class_map import category_classes, things_first
from ..class_metadata import class_metadata
from ..named_files import missing_files
from ..shards.files import is_folder


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
        FileNotFoundError: the JSON or a PNG is missing.
        ValueError: the JSON is damaged, has another format, or contradicts itself or the registered categories.
    """
    truth = read_panoptic(panoptic_json)
    metadata = MetadataCatalog.get(name)
    if metadata.get("stuff_dataset_id_to_contiguous_id") is None:
        metadata.set(**panoptic_metadata(things_first(truth.categories)))
    _check_registered(truth, metadata)
    if sem_seg_root is not None and not is_folder(sem_seg_root):
        sem_seg_root = None
    records = []
    for image_id in sorted(truth.segments):
        image, annotation = truth.images[image_id], truth.segments[image_id]
        record = {
            "file_name": os.path.join(image_root, image["file_name"]),
            "image_id": image_id,
            "height": image["height"],
            "width": image["width"],
            "pan_seg_file_name": os.path.join(panoptic_root, annotation["file_name"]),
            "segments_info": _segments(annotation, metadata),
        }
        if sem_seg_root is not None:
            record["sem_seg_file_name"] = os.path.join(sem_seg_root, annotation["file_name"])
        records.append(record)
    for key, kind in (("pan_seg_file_name", "panoptic"), ("sem_seg_file_name", "semantic")):
        _check_files([record[key] for record in records if key in record], kind)
    return records


def panoptic_metadata(categories: Iterable[dict]) -> dict:
    """Detectron2's metadata (`class_metadata`) of a panoptic set with the categories of `category_classes`."""
    return class_metadata(category_classes(categories), "panoptic")


def _check_registered(truth: PanopticAnnotations, metadata: Metadata) -> None:
    """Whether the categories of the file are the registered ones: id, name, and what is countable."""
    contiguous, things = metadata.stuff_dataset_id_to_contiguous_id, metadata.thing_dataset_id_to_contiguous_id
    found = {(one["id"], one["name"].strip(), bool(one["isthing"])) for one in truth.categories}  # ADE20K has "window "
    registered = {
        (category, metadata.stuff_classes[index].strip(), category in things) for category, index in contiguous.items()
    }
    if differences := sorted(found ^ registered, key=str):
        listed = some_of((f"{one} ({name}, {'thing' if thing else 'stuff'})" for one, name, thing in differences), 5)
        raise ValueError(f"{truth.source} and the registered categories differ in {listed}.")


def _check_files(paths: Sequence[str], kind: str) -> None:
    """Raises FileNotFoundError if one of the PNGs is missing."""
    if missing := missing_files(paths):
        raise FileNotFoundError(
            f"The {kind} PNG {missing[0]} does not exist ({len(missing)} of {len(paths)} are missing): complete the "
            "folder, or correct the names in the JSON."
        )


def _segments(annotation: dict, metadata: Metadata) -> list[dict]:
    """segments_info of an image with contiguous classes."""
    contiguous, things = metadata.stuff_dataset_id_to_contiguous_id, metadata.thing_dataset_id_to_contiguous_id
    return [
        {**segment, "category_id": contiguous[segment["category_id"]], "isthing": segment["category_id"] in things}
        for segment in annotation["segments_info"]
    ]

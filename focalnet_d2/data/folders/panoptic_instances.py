"""Boxes and masks of a panoptic set, counted from the pixels of its PNGs."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from focalnet_d2.utils.usable_cores import usable_cores

from ..annotations.ids import Id
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.panoptic import PanopticAnnotations
from ..class_map import ClassMap
from ..label_maps import check_label_size
from ..panoptic_labels import read_listed_ids
from ..panoptic_objects import segment_objects


def instances_of_panoptic(content: PanopticAnnotations, things: ClassMap) -> CocoInstances:
    """Every segment of these classes as an object in COCO's instances format.

    Args:
        things: classes by the ids of the file; the others are left out.

    Raises:
        FileNotFoundError, ValueError: a PNG is missing, cannot be read, or does not fit its image and segments.
    """
    image_ids = sorted(content.segments)
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        objects = list(pool.map(partial(_objects, content, things.contiguous), image_ids))
    annotations = [
        {"image_id": image_id, **entry} for image_id, own in zip(image_ids, objects, strict=True) for entry in own
    ]
    return CocoInstances(
        source=content.source,
        images=[content.images[image_id] for image_id in image_ids],
        class_names={entry.dataset_id: entry.name for entry in things.classes},
        annotations=[{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
    )


def _objects(content: PanopticAnnotations, things: Collection[Id], image_id: Id) -> list[Entry]:
    image, annotation = content.images[image_id], content.segments[image_id]
    ids = read_listed_ids(annotation["file_name"], annotation["segments_info"])
    size = (image["height"], image["width"])
    check_label_size(ids, size, label_file=annotation["file_name"], image_file=image["file_name"])
    chosen = [segment for segment in annotation["segments_info"] if segment["category_id"] in things]
    return [_object(segment, shape) for segment, shape in segment_objects(ids, chosen)]


def _object(segment: Any, shape: dict[str, Any]) -> Entry:
    return {"category_id": segment["category_id"], "iscrowd": int(segment["iscrowd"]), **shape}

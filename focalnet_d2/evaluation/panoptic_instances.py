"""The truth of box and mask AP from a panoptic one: every segment of a thing is an object.

The masks of segments do not overlap, those of COCO's instances file may: numbers differ a little from that file's.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from detectron2.data import Metadata

from focalnet_d2.data.mappers.panoptic import read_segments
from focalnet_d2.data.panoptic_objects import segment_objects

from .coco_files import GroundTruth

logger = logging.getLogger(__name__)


def instances_from_panoptic(records: Sequence[dict[str, Any]], metadata: Metadata) -> GroundTruth:
    """Boxes and masks of the things of a panoptic data set, counted from the pixels of its PNGs.

    Args:
        records: its dataset dicts.
        metadata: its metadata; they have the names and the category ids of the classes.

    Raises:
        FileNotFoundError, ValueError: a PNG is missing, cannot be read or does not fit its image and segments.
    """
    classes = metadata.thing_dataset_id_to_contiguous_id
    category_ids = sorted(classes)
    numbers = {classes[category]: number for number, category in enumerate(category_ids, 1)}
    by_id = {record["image_id"]: record for record in records}
    image_ids = sorted(by_id)
    annotations = [
        {"image_id": number, "category_id": numbers[category], **instance}
        for number, image_id in enumerate(image_ids, 1)
        for category, instance in _instances(by_id[image_id])
    ]
    logger.info(
        "%s has no file of instances: AP is measured on the %d segments of things.", metadata.name, len(annotations)
    )
    return GroundTruth(
        source=metadata.panoptic_json,
        image_ids=image_ids,
        category_ids=category_ids,
        class_names=[metadata.stuff_classes[classes[category]] for category in category_ids],
        images=[
            {"id": number, "height": by_id[image_id]["height"], "width": by_id[image_id]["width"]}
            for number, image_id in enumerate(image_ids, 1)
        ],
        annotations=[{"id": number, **annotation} for number, annotation in enumerate(annotations, 1)],
    )


def _instances(record: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Class and annotation of every thing of an image that has pixels."""
    ids = read_segments(record, (record["height"], record["width"]))
    things = [segment for segment in record["segments_info"] if segment["isthing"]]
    for segment, shape in segment_objects(ids, things):
        yield segment["category_id"], {**shape, "iscrowd": int(segment["iscrowd"])}

"""From checked annotations in COCO's instances format to dataset dicts in Detectron2's format."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detectron2.structures import BoxMode

from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

from .annotations.boxes import NO_AREA
from .annotations.files import can_be_file
from .annotations.ids import Id
from .annotations.instances import CocoInstances
from .annotations.json_file import Entry
from .annotations.masks import UnusableMaskError, compressed, find_unusable_masks

KEPT_KEYS = ("iscrowd", "bbox", NO_AREA)

logger = logging.getLogger(__name__)


@paused_collection()
def dataset_dicts(content: CocoInstances, image_root: str, contiguous: Mapping[Id, int]) -> list[dict]:
    """Detectron2's dicts of all images, each with its annotations in the order of the file.

    Masks that cannot be used are left out, so that their objects are good for box detectors only.

    Raises:
        ValueError: an image lacks what training needs.
    """
    files, heights, widths = image_columns(content.images, content.source)
    objects: dict[Id, list[dict]] = {image["id"]: [] for image in content.images}
    sizes = dict(zip(objects, zip(heights, widths)))
    annotations = content.annotations or []
    unusable = find_unusable_masks(annotations, sizes)
    for index, annotation in enumerate(annotations):
        mask = None if index in unusable else annotation["segmentation"]
        objects[annotation["image_id"]].append(annotation_dict(annotation, mask, contiguous))
    damaged = DamagedMasks()
    damaged.add(annotations, unusable, len(annotations))
    damaged.log(content.source)
    return [
        {
            "file_name": os.path.join(image_root, name),
            "height": height,
            "width": width,
            "image_id": key,
            "annotations": own,
        }
        for name, height, width, (key, own) in zip(files, heights, widths, objects.items())
    ]


def image_columns(images: list[Entry], source: str) -> tuple[list[str], list[int], list[int]]:
    """Names of files, heights and widths of all images.

    Raises:
        ValueError: an image lacks one of them.
    """
    where = f"{source}: images"
    files, heights, widths = (_column(images, key, where) for key in ("file_name", "height", "width"))
    if wrong := [name for name in files if not can_be_file(name)]:
        raise ValueError(f"{where} have a file_name that no file can have: {wrong[0]!r}.")
    return files, heights, widths


def _column(images: list[Entry], key: str, where: str) -> list:
    if lacking := [image["id"] for image in images if key not in image]:
        raise ValueError(
            f"{where} without {key}, with the ids {some_of(lacking, 10)}: training needs it of every image."
        )
    return [image[key] for image in images]


def annotation_dict(annotation: Entry, mask: Any, contiguous: Mapping[Id, int]) -> dict:
    """What a dataset dict has of a checked annotation.

    Args:
        mask: its usable segmentation; None for no mask.
        contiguous: class of each category id.
    """
    kept = {key: annotation[key] for key in KEPT_KEYS if key in annotation}
    kept |= {"category_id": contiguous[annotation["category_id"]], "bbox_mode": BoxMode.XYWH_ABS}
    if mask is not None:
        kept["segmentation"] = compressed(mask, mask["size"]) if isinstance(mask, dict) else mask
    if annotation.get("keypoints"):  # corners of pixels to their centers, as Detectron2 has it
        kept["keypoints"] = [v if index % 3 == 2 else v + 0.5 for index, v in enumerate(annotation["keypoints"])]
    return kept


@dataclass
class DamagedMasks:
    """The masks of a file that cannot be used; those of annotations that have only a box do not count.

    Attributes:
        count: how many.
        total: annotations.
        first: the image of the first of them, and what is wrong with it.
    """

    count: int = 0
    total: int = 0
    first: str = ""

    def add(self, annotations: Sequence[Entry], unusable: Mapping[int, UnusableMaskError], total: int) -> None:
        """Counts the next annotations of the file.

        Args:
            annotations: those that may have masks.
            unusable: of the unusable masks, the problem by the place of each.
            total: how many annotations there are.
        """
        damaged = sorted(index for index in unusable if annotations[index].get("segmentation"))
        if damaged and not self.count:
            self.first = f"{annotations[damaged[0]]['image_id']!r}, {unusable[damaged[0]]}"
        self.count += len(damaged)
        self.total += total

    def log(self, source: str) -> None:
        """Says how many masks are left out, and why the first of them."""
        if self.count:
            logger.warning(
                "%s: %d of %d annotations have a mask that cannot be used, the first one, on image %s; their boxes are "
                "used all the same.",
                *(source, self.count, self.total, self.first),
            )

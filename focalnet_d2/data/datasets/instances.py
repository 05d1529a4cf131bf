"""From a checked COCO instances file to dataset dicts in Detectron2's format."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from detectron2.data import Metadata, MetadataCatalog
from detectron2.structures import BoxMode

from focalnet_d2.utils.garbage_collection import paused_collection
from focalnet_d2.utils.text import some_of

from ..annotations.boxes import NO_AREA
from ..annotations.ids import Id
from ..annotations.instances import CocoInstances, read_instances
from ..annotations.json_file import Entry
from ..annotations.masks import UnusableMaskError, compressed, find_unusable_masks
from ..class_map import ClassMap, class_map
from ..class_metadata import class_metadata

KEPT_KEYS = ("iscrowd", "bbox", NO_AREA)

logger = logging.getLogger(__name__)


def load_instances(json_file: str, image_root: str, name: str) -> list[dict]:
    """Dataset dicts of a registered set, images in the order of their ids; equal to those of Detectron2's loader.

    Registers the class names of the file and the order of its category ids, which is the contiguous one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be used, or it contradicts what was registered before.
    """
    content = read_instances(json_file)
    classes = class_map(list(content.class_names), list(content.class_names.values()))
    register_classes(MetadataCatalog.get(name), content.source, classes)
    return dataset_dicts(content, image_root, classes.contiguous)


def register_classes(metadata: Metadata, source: str, classes: ClassMap) -> None:
    """Sets the metadata of a list of things unless they were registered; then they must be the same.

    Args:
        source: the file that has these classes, for messages.

    Raises:
        ValueError: they differ.
    """
    ids, names = metadata.get("thing_dataset_id_to_contiguous_id"), metadata.get("thing_classes")
    if ids is not None and (outside := classes.contiguous.keys() - ids.keys()):
        listed = some_of(sorted(outside), 10)
        raise ValueError(f"{source} has category ids {listed} outside the registered list of {len(ids)} classes.")
    if names is not None and (other := set(classes.names) ^ set(names)):
        raise ValueError(f"{source} and the registered class list differ in {some_of(sorted(other), 10)}.")
    if ids not in (None, classes.contiguous) or names not in (None, classes.names):
        raise ValueError(
            f"{source} has the classes {some_of(classes.contiguous.items(), 5)} (category id, class), which are not "
            "those registered, or not in their order."
        )
    for key, value in class_metadata(classes, "instances").items():
        if metadata.get(key) is None:
            metadata.set(**{key: value})


@paused_collection()
def dataset_dicts(content: CocoInstances, image_root: str, contiguous: Mapping[Id, int]) -> list[dict]:
    """Detectron2's dicts of all images, each with its annotations in the order of the file.

    Masks that cannot be used are left out, so that their objects are good for box detectors only.

    Raises:
        ValueError: an image lacks what training needs.
    """
    where = f"{content.source}: images"
    files, heights, widths = (_column(content.images, key, where) for key in ("file_name", "height", "width"))
    if wrong := [name for name in files if not isinstance(name, str)]:
        raise ValueError(f"{where} have a file_name that is no text: {wrong[0]!r}.")
    objects: dict[Id, list[dict]] = {image["id"]: [] for image in content.images}
    sizes = dict(zip(objects, zip(heights, widths)))
    annotations = content.annotations or []
    unusable = find_unusable_masks(annotations, sizes)
    for index, annotation in enumerate(annotations):
        mask = None if index in unusable else annotation["segmentation"]
        objects[annotation["image_id"]].append(_annotation_dict(annotation, mask, contiguous))
    _report(content.source, annotations, unusable)
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


def _column(images: list[Entry], key: str, where: str) -> list:
    if lacking := [image["id"] for image in images if key not in image]:
        raise ValueError(
            f"{where} without {key}, with the ids {some_of(lacking, 10)}: training needs it of every image."
        )
    return [image[key] for image in images]


def _annotation_dict(annotation: Entry, mask: Any, contiguous: Mapping[Id, int]) -> dict:
    kept = {key: annotation[key] for key in KEPT_KEYS if key in annotation}
    kept |= {"category_id": contiguous[annotation["category_id"]], "bbox_mode": BoxMode.XYWH_ABS}
    if mask is not None:
        kept["segmentation"] = compressed(mask, mask["size"]) if isinstance(mask, dict) else mask
    if annotation.get("keypoints"):  # corners of pixels to their centers, as Detectron2 has it
        kept["keypoints"] = [v if index % 3 == 2 else v + 0.5 for index, v in enumerate(annotation["keypoints"])]
    return kept


def _report(source: str, annotations: list[Entry], unusable: Mapping[int, UnusableMaskError]) -> None:
    """Says how many masks are left out and why the first of them, unless there are only boxes anyway."""
    damaged = {index: problem for index, problem in unusable.items() if annotations[index].get("segmentation")}
    if damaged:
        first, problem = next(iter(damaged.items()))
        image = annotations[first]["image_id"]
        logger.warning(
            "%s: %d of %d annotations have a mask that cannot be used, the first one, on image %r, %s; their boxes are "
            "used all the same.",
            *(source, len(damaged), len(annotations), image, problem),
        )

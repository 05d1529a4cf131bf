"""What layouts read, of whatever kind: its images, and the same with some of them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..annotations.instances import CocoInstances
from ..annotations.panoptic import PanopticAnnotations

Content = Any  # `CocoInstances`, `PanopticAnnotations` or a sequence of `ListedImage`


class ImageFile(NamedTuple):
    """What drawing validation images needs to know of an image: the id of its class, None where images have none, and
    whether it has labels."""

    class_id: Any = None
    has_labels: bool = True


def image_files(content: Content) -> dict[str, ImageFile]:
    """Each image by its path; one that is there several times has the labels of all."""
    if isinstance(content, Sequence):
        return {one.file_name: ImageFile(one.truth) for one in content}
    if isinstance(content, CocoInstances):
        images = content.images
        labelled = {entry["image_id"] for entry in content.annotations or ()}
    else:
        images = list(content.images.values())
        labelled = {key for key, annotation in content.segments.items() if annotation["segments_info"]}
    files = {image["file_name"] for image in images if image["id"] in labelled and "file_name" in image}
    return {
        image["file_name"]: ImageFile(has_labels=image["file_name"] in files)
        for image in images
        if "file_name" in image
    }


def only_images(content: Content, files: Collection[str]) -> Content:
    """The same with the images of these paths, and what belongs to them."""
    if isinstance(content, Sequence):
        return [one for one in content if one.file_name in files]
    if isinstance(content, PanopticAnnotations):
        images = {key: image for key, image in content.images.items() if image["file_name"] in files}
        segments = {key: entry for key, entry in content.segments.items() if key in images}
        return replace(content, images=images, segments=segments)
    kept = [image for image in content.images if image.get("file_name") in files]
    ids = {image["id"] for image in kept}
    annotations = content.annotations
    if annotations is not None:
        annotations = [annotation for annotation in annotations if annotation["image_id"] in ids]
    return replace(content, images=kept, annotations=annotations)

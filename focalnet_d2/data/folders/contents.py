"""What layouts read, of whatever kind: its images, and the same with some of them."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ..annotations.instances import CocoInstances
from ..annotations.panoptic import PanopticAnnotations

Content = Any  # `CocoInstances`, `PanopticAnnotations` or a list of `ListedImage`


def image_files(content: Content) -> dict[str, Any]:
    """Path of each image, and the id of its class where images have one."""
    if isinstance(content, list):
        return {one.file_name: one.truth for one in content}
    images = content.images if isinstance(content, CocoInstances) else content.images.values()
    return {image["file_name"]: None for image in images}


def only_images(content: Content, files: Collection[str]) -> Content:
    """The same with the images of these paths, and what belongs to them."""
    if isinstance(content, list):
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

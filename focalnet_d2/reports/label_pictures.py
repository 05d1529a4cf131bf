"""Small pictures of images with their labels drawn on them, in the colors of the class list."""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations.masks import compressed, usable_mask
from focalnet_d2.data.checks.tasks import LabelTask
from focalnet_d2.data.class_map import ClassEntry, ClassMap
from focalnet_d2.data.image_reading import read_picture
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.data.semantic_labels import read_label_values

LONGEST_SIDE = 360
_OPACITY = 0.5
_MOST_OBJECTS = 300  # that are drawn
_QUALITY = 82


@dataclass(frozen=True)
class LabelPicture:
    """An image with its labels.

    Attributes:
        jpeg: of the picture, as base64 text.
        classes: those that are in it, and how many objects (of a semantic set: 1) of each.
    """

    jpeg: str
    classes: list[tuple[ClassEntry, int]]


def draw_labels(task: LabelTask, classes: ClassMap) -> LabelPicture:
    """Draws an image and its labels.

    Raises:
        FileNotFoundError, ValueError: the image, or a file of its labels, cannot be read.
    """
    canvas = _canvas(task.image_file)
    known = {entry.dataset_id: entry for entry in classes.classes}
    found = {"panoptic": _draw_segments, "semantic": _draw_map}.get(task.kind, _draw_objects)(canvas, task, known)
    return _picture(canvas, found, known)


def draw_map(image_file: str, values: np.ndarray, entries: Mapping[int, ClassEntry]) -> LabelPicture:
    """Draws a map over an image, with white lines between its values.

    Args:
        values: (H, W) integers, of any size with the proportions of the image.
        entries: the class of each value; others are not colored.

    Raises:
        FileNotFoundError, ValueError: the image cannot be read.
    """
    canvas = _canvas(image_file)
    _fill_map(canvas, _shrunk(values, canvas), entries)
    found = Counter(entry.dataset_id for entry in entries.values())
    return _picture(canvas, found, {entry.dataset_id: entry for entry in entries.values()})


def draw_image(image_file: str) -> LabelPicture:
    """An image without labels.

    Raises:
        FileNotFoundError, ValueError: it cannot be read.
    """
    return _picture(_canvas(image_file), Counter(), {})


def _canvas(image_file: str) -> Image.Image:
    image = Image.fromarray(read_picture(image_file))
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _picture(canvas: Image.Image, found: Counter, known: Mapping[Any, ClassEntry]) -> LabelPicture:
    target = io.BytesIO()
    canvas.save(target, "JPEG", quality=_QUALITY)
    counts = [(known[key], count) for key, count in found.most_common() if key in known]
    return LabelPicture(base64.b64encode(target.getvalue()).decode(), counts)


Known = Mapping[Any, ClassEntry]


def _draw_objects(canvas: Image.Image, task: LabelTask, known: Known) -> Counter:
    """Masks where they can be decoded, and boxes."""
    size = task.image.get("height"), task.image.get("width")
    for label in task.labels[:_MOST_OBJECTS]:
        entry = known.get(label.get("category_id"))
        if entry is None or "bbox" not in label:
            continue
        mask = _mask(label, size)
        if mask is not None:
            _fill(canvas, mask, entry.color)
        _draw_box(canvas, label["bbox"], size, entry.color)
    return Counter(label.get("category_id") for label in task.labels)


def _mask(label: Mapping[str, Any], size: tuple[Any, Any]) -> np.ndarray | None:
    try:
        runs = compressed(usable_mask(label.get("segmentation"), size), size)
        return mask_codec.decode(mask_codec.merge(runs) if isinstance(runs, list) else runs).astype(bool)
    except (ValueError, TypeError):  # boxes alone, or a fault that is in the table
        return None


def _draw_box(canvas: Image.Image, box: Any, size: tuple[Any, Any], color: tuple[int, int, int]) -> None:
    if None in size:
        return
    height, width = size
    x, y, w, h = (float(value) for value in box)
    scale_x, scale_y = canvas.width / width, canvas.height / height
    left, top = x * scale_x, y * scale_y
    right, bottom = max(left, (x + w) * scale_x - 1), max(top, (y + h) * scale_y - 1)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline="white")
    draw.rectangle((left, top, right, bottom), outline=color, width=2)


def _draw_segments(canvas: Image.Image, task: LabelTask, known: Known) -> Counter:
    ids = _shrunk(read_panoptic_ids(task.label_file), canvas)
    drawn = {one["id"]: known[one["category_id"]] for one in task.labels if one.get("category_id") in known}
    _fill_map(canvas, ids, drawn)
    return Counter(segment.get("category_id") for segment in task.labels)


def _fill_map(canvas: Image.Image, ids: np.ndarray, entries: Mapping[int, ClassEntry]) -> None:
    """Colors of the values of (H, W), as large as the canvas, and lines between them."""
    for number, entry in entries.items():
        _fill(canvas, ids == number, entry.color)
    borders = np.zeros(ids.shape, bool)
    borders[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    borders[1:] |= ids[1:] != ids[:-1]
    canvas.paste((255, 255, 255), mask=Image.fromarray(borders))


def _draw_map(canvas: Image.Image, task: LabelTask, known: Known) -> Counter:
    assert task.decoding is not None  # a semantic task has one
    values = _shrunk(read_label_values(task.label_file, colors=task.decoding.colors), canvas)
    there, found = set(np.unique(values).tolist()), Counter()
    for value, label in task.decoding.labels:
        if value in there and label != task.decoding.ignore_label:
            entry = known[task.classes[label]]
            _fill(canvas, values == value, entry.color)
            found[entry.dataset_id] = 1
    return found


def _shrunk(values: np.ndarray, canvas: Image.Image) -> np.ndarray:
    """(H, W) integers of each pixel of the canvas."""
    return np.asarray(Image.fromarray(values.astype(np.int32)).resize(canvas.size, Image.Resampling.NEAREST))


def _fill(canvas: Image.Image, mask: np.ndarray, color: Iterable[int]) -> None:
    """Lays a color over the pixels of a mask of any size."""
    opacity = Image.fromarray(mask.astype(np.uint8) * round(255 * _OPACITY))
    canvas.paste(tuple(color), mask=opacity.resize(canvas.size, Image.Resampling.NEAREST))

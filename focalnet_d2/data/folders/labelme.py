"""labelme: a JSON file of shapes for each image.

    Class ids   from 1 in the order of labels.txt (`labelme --labels`), or of the names
    Objects     polygons, circles and `mask` shapes have masks, rectangles have none; an oriented rectangle is the
                upright one around it. Shapes of one label and one group_id are one object.
    Left out    lines and points, which is said, and the labels __ignore__ and _background_, as labelme's own converters
                do; flags mean whatever their user wants, and change nothing
    Images      imagePath; where that is missing, an image of the file's own name; else the embedded imageData, which
                is written into the user's cache
    Without a file  an image is left out, which is said: nobody has looked at it

labelme's own package (7.9) needs Qt and onnxruntime to be installed, and its reader refuses files without their image.
"""

import base64
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from os.path import abspath
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.user_cache import make_user_cache

from ..annotations.boxes import as_finite_numbers
from ..annotations.faults import Report, refusal
from ..annotations.json_file import Entry, read_json
from ..pixels import READ_ERRORS, decoding_problem
from ..shards.files import is_file
from .class_files import check_complete
from .dataset import Part
from .instance_content import InstanceContent, instances_found
from .label_files import ImageFinder, folders_of_parts, label_files, part_of_folders
from .layout import Found, Layout, WantedParts
from .listing import Listing
from .shapes import Piece, Pixels, Shapes, Size, box_around, ellipse, objects_of
from .stored_texts import StoredTexts
from .text_lines import filled_lines

_NO_CLASSES = ("__ignore__", "_background_")
_NO_OUTLINES = ("line", "linestrip", "point", "points")
_POINTS = {"polygon": 3, "rectangle": 2, "oriented_rectangle": 4, "circle": 2, "mask": 2}
_HEAD = 1 << 16  # bytes in which labelme's first keys stand


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Looks for JSON files with shapes and imagePath.

    Raises:
        ValueError: no shape has a label, labels.txt lacks one, or a part that was named has no such file.
    """
    seen = _Seen()
    files = StoredTexts(path for path in listing.with_suffix(".json") if seen.is_labelme(listing.absolute(path)))
    if not files:
        return None
    names = _names(listing, sorted(seen.labels - {""}))
    folders = folders_of_parts(listing, files, wanted, "JSON file of labelme")
    parts = {part: part_of_folders(listing, rows, {"names": names}) for part, rows in folders.items()}
    reason = f"{len(files)} JSON files of labelme such as {files[0]}"
    return instances_found(parts, dict(enumerate(names, 1)), listing.root, reason, seen.has_masks)


class _Seen:
    """What the files of a folder have shown so far.

    Attributes:
        labels: of shapes that may be objects.
        has_masks: whether every object has one.
    """

    def __init__(self) -> None:
        self.labels: set[str] = set()
        self.has_masks = True

    def is_labelme(self, path: str) -> bool:
        """Looks at one file, and says whether it is labelme's."""
        if (content := _labelme(path)) is None:
            return False
        self.labels.update(piece.label for piece in _pieces(content))
        self.has_masks = self.has_masks and all(one.has_outline for one in objects_of(_pieces(content)).values())
        return True


def gather(part: Part, report: Report, new_list: Callable = list) -> InstanceContent:
    """Boxes and masks of one part, before the checks.

    Args:
        new_list: see `InstanceContent`.

    Raises:
        ValueError: through `report`: a file that cannot be read or has no image, or a shape that is none.
    """
    content = InstanceContent(part, dict(enumerate(part.options["names"], 1)), report, new_list)
    finder, files, others = ImageFinder(part), label_files(part, ".json"), set()
    for number, file in enumerate(files, 1):
        try:
            if (labels := _labelme(file)) is None:
                others.add(file)
                continue
            image, size = _image(file, labels, finder), _size(file, labels)
        except ValueError as error:
            content.failed("unusable-file", file, error)
            continue
        if size := content.add_image(number, image, size):
            content.add_objects(number, size, _pieces(labels), file, f"{file}:")
            content.skip(file, [kind for kind in map(_kind, labels["shapes"]) if kind in _NO_OUTLINES])
    content.warn_of_unlabelled(finder.unlabelled(files, others), "a JSON file of labelme")
    return content


def _labelme(path: str) -> dict[str, Any] | None:
    """The content of a file of labelme; None for any other, of which only the head is read."""
    with open(path, "rb") as file:
        if b'"shapes"' not in file.read(_HEAD):
            return None
    content = read_json(path)
    is_labelme = isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content
    return content if is_labelme else None


def _names(listing: Listing, used: list[str]) -> list[str]:
    """Names of the classes in the order of their ids."""
    path = next((path for path in listing.files if f"/{path}".endswith("/labels.txt")), "")
    if path:
        names = [name for name in filled_lines(listing.absolute(path)) if name not in _NO_CLASSES]
        check_complete(listing.absolute(path), names, used, "labels {} of the JSON files")
        return list(dict.fromkeys(names))
    if not used:
        message = f"The JSON files of labelme in {listing.root} have no shape with a label: nothing to learn."
        raise refusal("no-categories", listing.root, message)
    return used


def _image(file: str, labels: Mapping[str, Any], finder: ImageFinder) -> str:
    """Path of the image of a file.

    Raises:
        ValueError: it is nowhere, not even in the file.
    """
    named = str(labels["imagePath"] or "").replace("\\", "/")
    beside = abspath(Path(file).parent / named)
    if named and is_file(beside):
        return beside
    try:
        return finder.find(file, named)
    except ValueError:
        if not labels.get("imageData"):
            raise
    return _embedded(file, labels["imageData"])


def _embedded(file: str, text: str) -> str:
    """Path in the user's cache of the image that a file holds, named by what it is."""
    try:
        data = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(data)) as image:
            suffix = (image.format or "").lower()
    except (TypeError, *READ_ERRORS) as error:
        raise ValueError(
            f"{file} has no image beside it, and its imageData is none ({decoding_problem(error)})."
        ) from error
    path = make_user_cache() / "labelme_images" / f"{hashlib.sha256(data).hexdigest()}.{suffix}"
    if not path.is_file():
        write_atomically(path, data)
    return str(path)


def _size(file: str, labels: Mapping[str, Any]) -> Size | None:
    """Height and width that a file says; None where one is missing or 0."""
    sides = [labels.get(key) or 0 for key in ("imageHeight", "imageWidth")]
    if not all(type(side) is int and side >= 0 for side in sides):
        raise ValueError(f"{file} has the height and width {sides}: write whole numbers of pixels.")
    return (sides[0], sides[1]) if all(sides) else None


def _pieces(content: Mapping[str, Any]) -> Iterator[Piece]:
    for place, shape in enumerate(content["shapes"], 1):
        if not isinstance(shape, dict):
            yield Piece(place, "", None, partial(_draw, {}))
        elif shape.get("label") not in _NO_CLASSES and _kind(shape) not in _NO_OUTLINES:
            group = shape.get("group_id")
            known = group if isinstance(group, int | str) else None
            yield Piece(place, str(shape.get("label") or ""), known, partial(_draw, shape))


def _kind(shape: Any) -> Any:
    """The kind of a shape; files of labelme before 3.0 have polygons only, and do not say it."""
    return (shape.get("shape_type") or "polygon") if isinstance(shape, dict) else None


def _draw(shape: Entry, shapes: Shapes) -> None:
    """Adds a shape to its object.

    Raises:
        ValueError: a phrase that says what the shape lacks.
    """
    if not isinstance(shape.get("group_id"), int | str | None):
        raise ValueError(f"has the group_id {str(shape['group_id'])[:40]}, which is no whole number")
    kind = _kind(shape)
    if not isinstance(kind, str) or kind not in _POINTS:
        raise ValueError(f"has the shape_type {kind!r}, which is none of {', '.join(_POINTS)}")
    rows = shape.get("points")
    count = len(rows) if isinstance(rows, list) else 0
    points = as_finite_numbers(rows if isinstance(rows, list) else [], (count, 2))
    if points is None or not count:
        raise ValueError(f"has the points {str(rows)[:40]}, which are no list of [x, y]")
    if count < _POINTS[kind] or (kind != "polygon" and count > _POINTS[kind]):
        raise ValueError(f"is a {kind} of {count} points instead of {_POINTS[kind]}")
    if kind == "polygon":
        shapes.polygons.append(points.ravel().tolist())
    elif kind == "circle":
        (x, y), edge = points.tolist()
        radius = math.dist((x, y), edge)
        shapes.polygons.append(ellipse(x, y, radius, radius))
    elif kind == "mask":
        shapes.pixels.append(_pixels(shape.get("mask"), points))
    else:
        shapes.boxes.append(box_around(points))


def _pixels(text: Any, points: np.ndarray) -> Pixels:
    """The bitmap of a mask, whose first pixel is at the first point (points: (2, 2) x, y).

    Corners in whole pixels belong to it, and cut it where it is larger, as labelme does; others are rounded.
    """
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            bitmap = np.array(image.convert("L")) > 0
    except (TypeError, *READ_ERRORS) as error:
        raise ValueError(f"has a mask that is no picture in base64 ({decoding_problem(error)})") from error
    (left, top), (right, bottom) = np.rint(points).astype(int).tolist()
    if (points == np.trunc(points)).all():
        bitmap = bitmap[: max(bottom - top + 1, 0), : max(right - left + 1, 0)]
    return bitmap, left, top


LAYOUT = Layout(
    name="labelme",
    kind="instances",
    summary="labelme: a JSON file with shapes for each image",
    find=find,
    read=lambda part, report: gather(part, report).checked(),
    gather=gather,
)

"""Files of Pascal VOC and CVAT as hotcoco reads them, where its reading is what ours would be; None everywhere else.

hotcoco 1.3 (of the extra `fast-eval`) parses many times as fast as ElementTree, and changes without a word what it does
not know. So a file goes to it only if it is well-formed, plain XML (no comments, entities, sections or letters beyond
ASCII) without a word of what it changes, and what it returns counts only if there is as much of everything as the bytes
have. In all other cases, and where it complains, our reader reads, which names the file and the place of a fault.

It is not asked for YOLO: docs/formats.md says why.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from xml.parsers import expat

from focalnet_d2.utils.garbage_collection import paused_collection

from .shapes import Polygon

# Of each object of a file of Pascal VOC, and of each file.
_ONCE_AN_OBJECT = (b"<object>", b"<name>", b"<bndbox>", b"<xmin>", b"<ymin>", b"<xmax>", b"<ymax>")
_ONCE_A_FILE = (b"<annotation>", b"<filename>", b"<size>", b"<width>", b"<height>")
_NOT_PLAIN = (b"&", b"<!", b"\0")
_CHANGED_OF_CVAT = (
    *(b"<mask", b"<ellipse", b"<polyline", b"<points", b"<cuboid", b"<skeleton", b"<tag", b"<track"),
    *(b"rotation=", b"group_id=", b'"+', b'=" ', b' "', b"'"),  # the last ones: numbers and names that it trims
)


@dataclass(slots=True)
class ReadObject:
    """One object.

    Attributes:
        label: name of its class.
        bbox: x, y, width, height in pixels from 0.
        polygon: its outline; None for a box.
        difficult: Pascal VOC's flag.
    """

    label: str
    bbox: list[float]
    polygon: Polygon | None
    difficult: bool


@dataclass(slots=True)
class ReadImage:
    """One image as its file has it.

    Attributes:
        name: as it stands there.
        size: height and width, 0 where there is none.
        objects: in the order of the file.
    """

    name: str
    size: tuple[int, int]
    objects: list[ReadObject] = field(default_factory=list)


def is_installed() -> bool:
    """Whether there is a hotcoco to ask."""
    return find_spec("hotcoco") is not None


@paused_collection()
def read_voc(files: Sequence[str], folder: str) -> dict[str, ReadImage] | None:
    """What each file of Pascal VOC says, if these are all XML files of a folder; corners count from 1.

    Args:
        files: absolute paths, sorted.
    """
    if not is_installed() or not files or any(os.path.dirname(file) != folder for file in files):
        return None
    texts = [_plain_xml(file) for file in files]
    if not all(text is not None and _is_of_voc(text) for text in texts):
        return None
    images = _read(lambda coco: coco.from_voc(folder))
    if images is None or len(images) != len(files):
        return None
    seen = dict(zip(files, images, strict=True))
    same = all(text and _says_the_same(text, *row) for text, row in zip(texts, seen.items(), strict=True))
    return seen if same else None


@paused_collection()
def read_cvat(file: str) -> list[ReadImage] | None:
    """The images of a file of CVAT for images, boxes and polygons only, in the order of the file."""
    text = _plain_xml(file) if is_installed() else None
    if text is None or any(word in text for word in _CHANGED_OF_CVAT):
        return None
    images = _read(lambda coco: coco.from_cvat(file))
    counts = text.count(b"<image "), text.count(b"<box ") + text.count(b"<polygon ")
    if images is None or counts != (len(images), sum(len(image.objects) for image in images)):
        return None
    return images if all(image.name.isprintable() and all(image.size) for image in images) else None


def _plain_xml(file: str) -> bytes | None:
    """The content of a well-formed XML file in which each tag and value is written in one way only."""
    try:
        with open(file, "rb") as stream:
            text = stream.read()
        if not text.isascii() or any(mark in text for mark in _NOT_PLAIN):
            return None
        expat.ParserCreate().Parse(text, True)
    except (OSError, expat.ExpatError):
        return None
    return text


def _is_of_voc(text: bytes) -> bool:
    """Whether each object has each of its elements once, and nothing with elements of the same names."""
    objects = text.count(b"<object>")
    flags = text.count(b"<difficult>0</difficult>") + text.count(b"<difficult>1</difficult>")
    return (
        all(text.count(tag) == objects for tag in _ONCE_AN_OBJECT)
        and all(text.count(tag) == 1 for tag in _ONCE_A_FILE)
        and flags == text.count(b"<difficult") <= objects
        and not any(mark in text for mark in (b"<part", b"<imagesize"))
    )


def _says_the_same(text: bytes, file: str, image: ReadImage) -> bool:
    """Whether the bytes of a file of Pascal VOC have the name, which is the file's, the sides and as many objects."""
    height, width = image.size
    said = f"<filename>{image.name}</filename>", f"<width>{width}</width>", f"<height>{height}</height>"
    counts_agree = text.count(b"<object>") == len(image.objects)
    return counts_agree and all(one.encode() in text for one in said) and _stem(image.name) == _stem(file)


def _stem(file: str) -> str:
    return os.path.splitext(os.path.basename(file))[0]


def _read(load: Callable[[Any], Any]) -> list[ReadImage] | None:
    """What hotcoco returns; None where it complains, or has boxes that are none."""
    from hotcoco import COCO  # an optional extra

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it warns of what it leaves out
            content = load(COCO).dataset
    except (ValueError, OSError, UserWarning):
        return None
    names = {one["id"]: one["name"] for one in content["categories"]}
    images = {one["id"]: ReadImage(one["file_name"], (one["height"], one["width"])) for one in content["images"]}
    for one in content["annotations"]:
        polygon = one["segmentation"][0] if "segmentation" in one else None
        if not _is_box(one["bbox"]) or not all(map(math.isfinite, polygon or ())):
            return None
        read = ReadObject(names[one["category_id"]], one["bbox"], polygon, one["iscrowd"] == 1)
        images[one["image_id"]].objects.append(read)
    return list(images.values())


def _is_box(bbox: Iterable[float]) -> bool:
    x, y, width, height = bbox
    return width >= 0 and height >= 0 and math.isfinite(x + y + width + height)

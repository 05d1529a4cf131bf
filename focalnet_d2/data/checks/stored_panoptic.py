"""Big panoptic files for `check-data`, read a chunk at a time and kept in a temporary file.

The rules are those of `annotations.panoptic`, applied to some images at a time. A file in which they find anything at
all is read at once, as small ones are, so that each fault is told of the whole file.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from focalnet_d2.utils.garbage_collection import paused_collection

from ..annotations.faults import Fault
from ..annotations.ids import KINDS
from ..annotations.json_file import Entry
from ..annotations.json_stream import JsonStream, UnusualJsonError
from ..annotations.panoptic import check_panoptic
from ..folders.coco_panoptic import PathSetter
from ..folders.dataset import Part
from ..folders.stored_texts import TextSet
from .stored_entries import EntryStore, ImageStore
from .stored_instances import is_big


class StoredPanoptic:
    """What `PanopticAnnotations` says, for checks, in little memory.

    Attributes:
        source: the file.
        images: an image and its annotation in each entry, in the order of the annotations in the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.images = EntryStore()

    def add(self, image: Entry, annotation: Entry) -> None:
        """Adds the next image that has an annotation."""
        self.images.append({"image": image, "annotation": annotation})

    def pairs(self) -> Iterator[tuple[Entry, Entry]]:
        """Every image and its annotation."""
        return ((entry["image"], entry["annotation"]) for entry in self.images)


def store_panoptic(part: Part) -> StoredPanoptic | None:
    """Reads a big file without faults; None of a small file, and of one that has to be read at once."""
    try:
        if not is_big(part.annotations):
            return None
        with open(part.annotations, "rb") as file, paused_collection():
            return _Reading(part).read(file)
    except (UnusualJsonError, OSError):
        return None


class _Reading:
    """What is known of a file while it is read."""

    def __init__(self, part: Part) -> None:
        self._paths = PathSetter(part)
        self._images = ImageStore()
        self._categories: list[Entry] = []
        self._kind: type | None = None  # of the ids of the images, once all are known
        self._seen = TextSet()  # ids of images that have an annotation
        self._stored = StoredPanoptic(part.annotations)

    def read(self, file: BinaryIO) -> StoredPanoptic:
        """Raises UnusualJsonError where the whole has to be read at once."""
        JsonStream(file).take_all(self._take_images, self._categories.extend, self._take_annotations)
        if self._kind is None or len(self._stored.images) < len(self._images):
            raise UnusualJsonError("an image has no annotation")
        return self._stored

    def _take_images(self, images: list[Entry]) -> None:
        _keys(images, "id")
        self._images.add(images)

    def _take_annotations(self, entries: list[Entry]) -> None:
        if self._kind is None:
            self._images.finish()
            self._kind = type(next(iter(self._images), None))
        images = [self._images.image(self._place_of(key)) for key in _keys(entries, "image_id")]
        content = {"images": images, "categories": self._categories, "annotations": entries}
        checked = check_panoptic(content, self._stored.source, _refuse)
        self._paths.set(checked, _refuse)
        for key, annotation in checked.segments.items():
            self._stored.add(checked.images[key], annotation)

    def _place_of(self, key: Any) -> int:
        """The place of an image, which is asked for once."""
        place = self._images.get(key) if type(key) is self._kind else None
        if place is None or not self._seen.add(str(key)):
            raise UnusualJsonError("an image that is not listed, or that has two annotations")
        return place


def _keys(entries: list[Entry], name: str) -> list[Any]:
    """The ids that entries have by a name, all of one kind."""
    keys = [entry.get(name) for entry in entries]
    kinds = set(map(type, keys))
    if len(kinds) > 1 or not kinds <= KINDS.keys():
        raise UnusualJsonError("ids of different kinds, or none")
    return keys


def _refuse(fault: Fault) -> NoReturn:
    raise UnusualJsonError(fault.message)

"""Big COCO files, and what other formats become, for `check-data`: looked at in chunks by the rules of `annotations`,
and kept in a temporary file.

A file with errors that are about all of its annotations, such as ids in two forms, is read at once, as small ones are.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

from focalnet_d2.utils.garbage_collection import paused_collection

from ..annotations import instances
from ..annotations.box_forms import BoxForms
from ..annotations.chunked_findings import ChunkedFindings
from ..annotations.faults import Fault, Report
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.json_stream import JsonStream, UnusualJsonError
from ..folders.coco import PathSetter
from ..folders.dataset import Part
from ..folders.instance_content import InstanceContent
from .missing_masks import MissingMasks
from .stored_entries import AnnotationStore, ImageStore

BIG = 1 << 20  # bytes of a file from which on it is read a chunk at a time
MANY = 2000  # images of other formats from which on they are
_CHUNK = 1000  # images or objects that are looked at together
_KEYS = ("id", "file_name", "height", "width")  # of images; nobody asks for others


class StoredInstances:
    """What `CocoInstances` says, for checks, in little memory.

    Attributes:
        source: the file.
        images: by their ids.
        masks: how many objects have none.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.images = ImageStore()
        self.annotations = AnnotationStore()
        self.masks = MissingMasks()

    def grouped(self) -> Iterator[tuple[Entry, list[Entry]]]:
        """Every image, in the order of the ids, with its annotations, in the order of the file."""
        for image in self.images.in_order():
            yield image, self.annotations.of_image(image["id"])


class _Sizes:
    """Width and height of images; as an array (N, 2) of those at all places, but read from where they are stored.

    Args:
        images: that have sizes.
    """

    def __init__(self, images: ImageStore) -> None:
        self._images = images

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """(K, 2) of the images at (K,) places, infinite where the file does not say."""
        different, which = np.unique(places, return_inverse=True)
        images = map(self._images.image, different.tolist())
        sizes = [(image.get("width", np.inf), image.get("height", np.inf)) for image in images]
        return np.array(sizes, np.float64).reshape(-1, 2)[which]


def is_big(path: str) -> bool:
    """Whether an annotation file is read a chunk at a time; raises OSError where there is none."""
    return os.path.getsize(path) >= BIG


def store_instances(part: Part, report: Report) -> StoredInstances | None:
    """Reads a big file.

    Args:
        report: gets the faults that reading at once would report.

    Returns:
        None of a small file, and of one that has to be read at once; nothing is reported then.
    """
    try:
        if not is_big(part.annotations):
            return None
        faults: list[Fault] = []
        with open(part.annotations, "rb") as file, paused_collection():
            stored = _Reading(part).read(file, faults.append)
    except (UnusualJsonError, OSError):
        return None
    for fault in faults:  # now that nothing can fail any more
        report(fault)
    return stored


def store_gathered(content: InstanceContent, part: Part, report: Report) -> CocoInstances | StoredInstances:
    """The same of what a reader of another format has gathered in `EntryStore`s; few images are looked at at once."""
    gathered, faults = content.content(), []
    if len(gathered["images"]) >= MANY:
        with suppress(UnusualJsonError), paused_collection():
            stored = _Reading(part, is_converted=True).read_gathered(gathered, faults.append)
            for fault in faults:
                report(fault)
            return stored
    listed = {key: list(entries) for key, entries in gathered.items()}
    return instances.check_instances(listed, part.annotations, report, is_converted=True)


class _Reading:
    """What is known of a file while it is read.

    Args:
        is_converted: whether our own readers have made the entries from another format's.
    """

    def __init__(self, part: Part, *, is_converted: bool = False) -> None:
        self._part, self._is_converted = part, is_converted
        self._findings = ChunkedFindings(part.annotations)
        self._path_faults: list[Fault] = []
        self._paths = PathSetter(part, self._path_faults.append)
        self._categories: list[Entry] = []
        self._listed: instances.Listed | None = None  # once there are images and categories
        self._forms = BoxForms()
        self._stored = StoredInstances(part.annotations)

    def read(self, file: BinaryIO, report: Report) -> StoredInstances:
        """Reads the whole file."""
        JsonStream(file).take_all(self._take_images, self._categories.extend, self._take_annotations)
        return self._checked(report)

    def read_gathered(self, content: Mapping[str, Any], report: Report) -> StoredInstances:
        """The same of lists of entries."""
        for images in _chunks(content["images"]):
            self._take_images(images)
        self._categories = content["categories"]
        for annotations in _chunks(content["annotations"]):
            self._take_annotations(annotations)
        return self._checked(report)

    def _checked(self, report: Report) -> StoredInstances:
        if self._listed is None or self._has_only_crowds() or self._forms.other_form:
            raise UnusualJsonError("there is nothing to find, or in boxes of another form")
        self._stored.annotations.finish()
        if repeats := self._stored.annotations.repeated_ids():
            self._findings.odd("duplicate-annotation-id", instances.REPEATED_IDS, repeats)
        self._findings.hand_over(report)
        self._paths.finish()
        for fault in self._path_faults:
            report(fault)
        return self._stored

    def _has_only_crowds(self) -> bool:
        return self._findings.oddities.counts[instances.CROWDS] == self._stored.masks.objects

    def _take_images(self, entries: list[Entry]) -> None:
        self._findings.in_chunks = True
        images = [{key: entry[key] for key in _KEYS if key in entry} for entry in entries]
        images = instances.checked_images(images, self._findings)
        if not self._is_converted:
            self._paths.set(images)
        self._stored.images.add(images)

    def _begin(self) -> instances.Listed:
        self._findings.in_chunks = False
        names = instances.checked_class_names(self._categories, self._findings)
        if not (len(self._stored.images) and names):
            raise UnusualJsonError("nothing that annotations refer to")
        self._findings.in_chunks = True
        self._stored.images.finish()
        sizes: Any = _Sizes(self._stored.images)
        listed = instances.Listed(self._stored.images, sizes, names)
        instances.check_annotations([], listed, self._findings)  # rules that find nothing here say in which order
        return listed

    def _take_annotations(self, entries: list[Entry]) -> None:
        self._listed = self._listed or self._begin()
        known, boxes, sizes = instances.check_annotations(entries, self._listed, self._findings)
        if not self._is_converted:
            self._forms.add(boxes, sizes)
        self._stored.masks.add(known)
        self._stored.annotations.add(known)


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    remaining = iter(entries)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk

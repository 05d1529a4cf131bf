"""Big COCO files, and what other formats become, for `check-data`: looked at in chunks by the rules of `annotations`,
and kept in a temporary file.

A file with errors that are about all of its annotations, such as ids in two forms, is read at once, as small ones are.
"""

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

from focalnet_d2.utils.garbage_collection import paused_collection

from ..annotations import instances
from ..annotations.box_forms import BoxForms
from ..annotations.chunked_findings import ChunkedFindings
from ..annotations.faults import Fault, Report
from ..annotations.ids import repeats_of
from ..annotations.instances import CocoInstances
from ..annotations.json_file import Entry
from ..annotations.json_stream import JsonStream, UnusualJsonError
from ..folders.coco import PathSetter
from ..folders.dataset import Part
from ..folders.instance_content import InstanceContent
from .missing_masks import MissingMasks
from .stored_entries import EntryStore
from .stored_ids import StoredIds

BIG = 1 << 20  # bytes of a file from which on it is read a chunk at a time
MANY = 2000  # images of other formats from which on they are
_CHUNK = 1000  # images or objects that are looked at together
_UNKNOWN = float("inf")
_KEYS = ("id", "file_name", "height", "width")  # of images; nobody asks for others


class StoredInstances:
    """What `CocoInstances` says, for checks, in little memory.

    Attributes:
        source: the file.
        images: entries in the order of their ids.
        masks: how many objects have none.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.images = EntryStore()
        self.masks = MissingMasks()
        self._annotations = EntryStore()
        self._rows = array("i")  # place of each annotation's image
        self._hashes = array("q")  # of each annotation's id; -1, which is no hash, where it has none

    def add(self, annotations: Sequence[Entry], rows: Sequence[int]) -> None:
        """Adds the next annotations of the file, and the place of each one's image."""
        self.masks.add(annotations)
        self._annotations.extend(annotations)
        self._rows.extend(rows)
        self._hashes.extend(hash(key) if _is_id(key := entry.get("id")) else -1 for entry in annotations)

    def grouped(self) -> Iterator[tuple[Entry, list[Entry]]]:
        """Every image with its annotations, in the order of the file."""
        rows = np.frombuffer(self._rows, np.int32)
        order = np.argsort(rows, kind="stable")
        first = np.append(0, np.cumsum(np.bincount(rows, minlength=len(self.images))))
        for place, image in enumerate(self.images):
            own = order[first[place] : first[place + 1]].tolist()
            yield image, [self._annotations[number] for number in own]

    def repeated_ids(self) -> list[Any]:
        """Every id of an annotation that has come before, as often as it does."""
        hashes = np.frombuffer(self._hashes, np.int64)
        ordered = np.sort(hashes)
        several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        suspects = np.flatnonzero(np.isin(hashes, several) & (hashes != -1)).tolist()
        return repeats_of(self._annotations[number]["id"] for number in suspects)


def _is_id(key: Any) -> bool:
    return type(key) in (int, str)


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
        self._ids = StoredIds()
        self._sizes = array("d")  # width and height of each image
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
        if repeats := self._stored.repeated_ids():
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
        self._ids.extend([image["id"] for image in images])
        self._sizes.extend(
            side for image in images for side in (image.get("width", _UNKNOWN), image.get("height", _UNKNOWN))
        )
        if not self._is_converted:
            self._paths.set(images)
        self._stored.images.extend(images)

    def _begin(self) -> instances.Listed:
        self._findings.in_chunks = False
        names = instances.checked_class_names(self._categories, self._findings)
        if not (len(self._ids) and names):
            raise UnusualJsonError("nothing that annotations refer to")
        self._findings.in_chunks = True
        order = self._ids.arrange()
        self._stored.images.arrange(order)
        sizes = np.asarray(self._sizes).reshape(-1, 2)[order]
        listed = instances.Listed(self._ids, sizes, names)
        instances.check_annotations([], listed, self._findings)  # rules that find nothing here say in which order
        return listed

    def _take_annotations(self, entries: list[Entry]) -> None:
        self._listed = self._listed or self._begin()
        known, boxes, sizes = instances.check_annotations(entries, self._listed, self._findings)
        if not self._is_converted:
            self._forms.add(boxes, sizes)
        self._stored.add(known, [self._listed.places[entry["image_id"]] for entry in known])


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    remaining = iter(entries)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk

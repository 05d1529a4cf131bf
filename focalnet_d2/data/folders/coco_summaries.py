"""What the JSON files of a folder hold, as far as recognizing them needs: those in one of COCO's formats."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from focalnet_d2.kernels.box_annotations import read_boxes
from focalnet_d2.utils.garbage_collection import paused_collection

from ..annotations.ids import Id
from ..annotations.json_file import Entry, entries_of, read_json
from ..annotations.json_stream import JsonStream, UnusualJsonError
from .listing import Listing
from .stored_texts import KeyedTexts, StoredTexts

FORMAT = "COCO's format"
BIG = 1 << 20  # bytes of a file that is looked at a chunk at a time
_MANY = 20  # JSON files of one folder: of more, this many are looked at, and all the rest only if one is COCO's


@dataclass(frozen=True)
class CocoSummary:
    """A JSON file in one of COCO's formats.

    Attributes:
        path: relative to the root of the listing.
        kind: "instances", "panoptic", "keypoints", "images" for a file without annotations, or "other".
            Files called stuff_* have their kind of objects, too, but no countable ones, and are "other".
        image_names: `file_name` of each image that has one.
        label_names: of a panoptic file, `file_name` of each annotation that has one.
        example: of a panoptic file, a PNG and the ids of its segments; ("", none) where no annotation has both.
        categories: as in the file.
        used: ids of categories that annotations have.
        has_masks: whether there are annotations and each has a segmentation.
    """

    path: str
    kind: str
    image_names: Sequence[str]
    label_names: Sequence[str]
    example: tuple[str, frozenset]
    categories: list[Entry]
    used: frozenset
    has_masks: bool

    def __str__(self) -> str:
        return f"{self.path} ({self.kind}, {len(self.image_names)} images)"


_KNOWN: WeakKeyDictionary[Listing, list[CocoSummary]] = WeakKeyDictionary()  # several layouts ask about one listing


def coco_summaries(listing: Listing) -> list[CocoSummary]:
    """The files in one of COCO's formats, in the order of their paths.

    Raises:
        ValueError: a file that seems to be one is damaged.
    """
    if listing not in _KNOWN:
        _KNOWN[listing] = _summaries(listing)
    return _KNOWN[listing]


@paused_collection()
def _summaries(listing: Listing) -> list[CocoSummary]:
    files, summaries = listing.with_suffix(".json"), []
    by_folder = KeyedTexts(files, _folder)
    for folder in dict.fromkeys(map(_folder, files)):
        paths = by_folder.found(folder)
        first = [summary for path in islice(paths, _MANY) if (summary := _summary(listing, path)) is not None]
        rest = paths if first else ()
        summaries += first + [summary for path in rest if (summary := _summary(listing, path)) is not None]
    return summaries


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _summary(listing: Listing, path: str) -> CocoSummary | None:
    file, seen = listing.root / path, _Seen()
    if file.stat().st_size < BIG:
        if b'"images"' not in file.read_bytes():
            return None
        found = _look_at_once(file, seen)  # also where no other list is seen: it raises where the file breaks off
    else:
        try:
            with open(file, "rb") as opened:
                found = JsonStream(opened).take(seen.lists(), "annotations", seen.take_text)
        except UnusualJsonError:
            seen = _Seen()
            found = _look_at_once(file, seen)
    return seen.summary(path) if "images" in found and len(found) > 1 else None


def _look_at_once(file: Path, seen: "_Seen") -> set[str]:
    """Shows all lists of a file; returns the keys of those that there are."""
    content = read_json(file)
    if not isinstance(content, dict):
        return set()
    keys = [key for key in seen.lists() if content.get(key) is not None]
    if "images" in keys and len(keys) > 1:
        for key, entries in zip(keys, entries_of(content, keys, file, FORMAT), strict=True):
            seen.lists()[key](entries)
    return set(keys)


class _Seen:
    """What the lists of a file have shown so far; it does not grow with the number of annotations."""

    def __init__(self) -> None:
        self.image_names = StoredTexts()
        self.label_names = StoredTexts()
        self.example: tuple[str, frozenset] = ("", frozenset())
        self.categories: list[Entry] = []
        self.used: set[Id] = set()
        self.keys: set[str] = set()
        self.has_masks = True

    def lists(self) -> dict[str, Callable[[list[Entry]], None]]:
        """What takes the entries of each list."""
        return {
            "images": lambda entries: self.image_names.extend(_names(entries)),
            "categories": self.categories.extend,
            "annotations": self._take_annotations,
        }

    def _take_annotations(self, entries: list[Entry]) -> None:
        self.label_names.extend(_names(entries))
        if not self.example[1]:
            self.example = next(filter(lambda one: one[1], map(_example, entries)), self.example)
        self.used |= {key for entry in entries if isinstance(key := entry.get("category_id"), int | str)}
        self.keys.update(*entries)
        self.has_masks = self.has_masks and all(entry.get("segmentation") for entry in entries)

    def take_text(self, text: bytes) -> bool:
        """Takes annotations that are boxes alone as they are written; False where there are others."""
        columns = read_boxes(text)
        if columns is None:
            return False
        self.used.update(np.unique(columns.category_ids).tolist())
        self.keys.update(("image_id", "category_id", "bbox"))
        self.has_masks = False
        return True

    def summary(self, path: str) -> CocoSummary:
        """All of it."""
        is_stuff = path.rpartition("/")[2].startswith("stuff_")
        return CocoSummary(
            path=path,
            kind="other" if is_stuff else self._kind(),
            image_names=self.image_names,
            label_names=self.label_names,
            example=self.example,
            categories=self.categories,
            used=frozenset(self.used),
            has_masks=self.has_masks and bool(self.keys),
        )

    def _kind(self) -> str:
        if not self.keys:
            return "images"
        if "segments_info" in self.keys:
            return "panoptic"
        if any(category.get("keypoints") for category in self.categories):
            return "keypoints"
        return "instances" if {"bbox", "segmentation"} & self.keys else "other"


def _names(entries: list[Entry]) -> list[str]:
    return [name for entry in entries if isinstance(name := entry.get("file_name"), str) and name]


def _example(annotation: Entry) -> tuple[str, frozenset]:
    """The PNG of a panoptic annotation and the ids of its segments; no ids where it has none."""
    name, segments = annotation.get("file_name"), annotation.get("segments_info")
    if not (isinstance(name, str) and isinstance(segments, list)):
        return "", frozenset()
    return name, frozenset(one["id"] for one in segments if isinstance(one, dict) and type(one.get("id")) is int)

"""What the JSON files of a folder hold, as far as recognizing them needs: those in one of COCO's formats."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from focalnet_d2.utils.garbage_collection import paused_collection

from ..annotations.json_file import Entry, entries_of, read_json
from .listing import Listing

FORMAT = "COCO's format"
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
        categories: as in the file.
        used: ids of categories that annotations have.
        has_masks: whether there are annotations and each has a segmentation.
    """

    path: str
    kind: str
    image_names: list[str]
    label_names: list[str]
    categories: list[Entry]
    used: frozenset
    has_masks: bool

    def __str__(self) -> str:
        return f"{self.path} ({self.kind}, {len(self.image_names)} images)"


@lru_cache(maxsize=1)  # several layouts ask about the same listing, one after the other
@paused_collection()
def coco_summaries(listing: Listing) -> list[CocoSummary]:
    """The files in one of COCO's formats, in the order of their paths.

    Raises:
        ValueError: a file that seems to be one is damaged.
    """
    by_folder: dict[str, list[str]] = {}
    for path in listing.with_suffix(".json"):
        by_folder.setdefault(path.rpartition("/")[0], []).append(path)
    summaries = []
    for paths in by_folder.values():
        first = [summary for path in paths[:_MANY] if (summary := _summary(listing, path)) is not None]
        rest = paths[_MANY:] if first else ()
        summaries += first + [summary for path in rest if (summary := _summary(listing, path)) is not None]
    return summaries


def _summary(listing: Listing, path: str) -> CocoSummary | None:
    file = listing.root / path
    text = file.read_bytes()
    if b'"images"' not in text or not (b'"annotations"' in text or b'"categories"' in text):
        return None
    if b'"caption"' in text and b'"bbox"' not in text:  # big files that need not be parsed
        return None
    del text
    content = read_json(file)
    if not isinstance(content, dict) or "images" not in content or not {"annotations", "categories"} & content.keys():
        return None
    keys = [key for key in ("images", "annotations", "categories") if content.get(key) is not None]
    lists = dict(zip(keys, entries_of(content, keys, file, FORMAT), strict=True))
    annotations, categories = lists.get("annotations"), lists.get("categories", [])
    return CocoSummary(
        path=path,
        kind="other" if path.rpartition("/")[2].startswith("stuff_") else _kind(annotations, categories),
        image_names=_names(lists.get("images", [])),
        label_names=_names(annotations or []),
        categories=categories,
        used=frozenset(id_ for entry in annotations or [] if type(id_ := entry.get("category_id")) in (int, str)),
        has_masks=bool(annotations) and all(entry.get("segmentation") for entry in annotations),
    )


def _kind(annotations: list[Entry] | None, categories: list[Entry]) -> str:
    if not annotations:
        return "images"
    keys = set().union(*(entry.keys() for entry in annotations))
    if "segments_info" in keys:
        return "panoptic"
    if any(category.get("keypoints") for category in categories):
        return "keypoints"
    if {"bbox", "segmentation"} & keys:
        return "instances"
    return "other"


def _names(entries: list[Mapping[str, Any]]) -> list[str]:
    return [name for entry in entries if isinstance(name := entry.get("file_name"), str) and name]

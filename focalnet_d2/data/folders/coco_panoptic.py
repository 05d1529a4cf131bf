"""COCO's panoptic format: a JSON of segments and a folder of PNGs, from which everything else is derived."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from ..annotations.faults import Report, refusal
from ..annotations.ids import kinds_problem
from ..annotations.json_file import Entry
from ..annotations.panoptic import PanopticAnnotations, read_panoptic
from ..class_map import ClassMap, category_classes, things_first
from ..panoptic_labels import read_panoptic_ids
from ..shards.files import is_file
from .annotation_files import assign_parts, described_parts
from .coco_summaries import CocoSummary, coco_summaries
from .dataset import Part
from .image_names import NameResolver, is_called_labels, locate, plain_name
from .layout import Found, Layout, WantedParts
from .listing import Listing
from .same_classes import located


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """The panoptic files of a folder."""
    files = {one.path: one for one in coco_summaries(listing) if one.kind == "panoptic"}
    if not files:
        return None

    def images_of(path: str, part: str) -> str:
        one = files[path]
        return locate(listing, one.image_names, path, part, has_labels=_label_folders(listing, one)).folder

    chosen = assign_parts(listing, list(files), wanted, images_of=images_of)
    summaries = {part: files[path] for part, path in chosen.items()}
    counts = {part: len(one.label_names) for part, one in summaries.items()}
    return Found(
        parts={part: _part(listing, one, part) for part, one in summaries.items()},
        classes=_classes(listing, summaries),
        reason=f"COCO's panoptic files {described_parts(chosen, counts)}",
        has_masks=True,
    )


def _part(listing: Listing, summary: CocoSummary, part: str) -> Part:
    if not summary.image_names or not summary.label_names:
        file = listing.absolute(summary.path)
        raise refusal("file-name", file, f"{file} names no image or no PNG: write file_name in both lists.")
    has_labels = _label_folders(listing, summary)
    images = locate(listing, summary.image_names, summary.path, part, has_labels=has_labels)
    labels = locate(listing, summary.label_names, summary.path, part, labels=True, has_labels=has_labels)
    return Part(
        images=listing.absolute(images.folder),
        annotations=listing.absolute(summary.path),
        options={
            "search": images.search,
            "panoptic_root": listing.absolute(labels.folder),
            "search_panoptic": labels.search,
        },
    )


def _label_folders(listing: Listing, summary: CocoSummary) -> Callable[[str], bool]:
    """Tells the folder of the PNGs, which may have the names of the images: by its own name, or else by a PNG in it."""
    name, segments = summary.example

    @cache
    def has_labels(folder: str) -> bool:
        file = listing.root / folder / plain_name(name)
        if is_called_labels(folder) or not segments or file.suffix.lower() != ".png" or not is_file(file):
            return is_called_labels(folder)
        try:
            return set(np.unique(read_panoptic_ids(file)).tolist()) - {0} == segments
        except ValueError:
            return False

    return has_labels


def _classes(listing: Listing, summaries: dict[str, CocoSummary]) -> ClassMap:
    """The categories, which are the same in all parts; things by id, then stuff by id."""
    lists = {}
    for one in summaries.values():
        file = listing.absolute(one.path)
        lists[file] = _class_list(one.categories, file)
    (first, classes), *others = lists.items()
    known = [row[:3] for row in classes.to_plain()]
    for file, other in others:
        if differing := [row for row in (listed[:3] for listed in other.to_plain()) if row not in known]:
            message = f"{first} and {file} have different categories: write one list for all parts."
            raise refusal("contradicting-categories", file, message, [row[0] for row in differing])
        if len(other) != len(classes):
            message = f"{first} and {file} have different categories: write one list for all parts."
            missing = classes.contiguous.keys() - other.contiguous.keys()
            raise refusal("contradicting-categories", file, message, sorted(missing, key=str))
    return classes


def _class_list(categories: Sequence[Entry], file: str) -> ClassMap:
    """The categories of one file; of those of one name the first, as reading has it."""
    if problem := kinds_problem([category.get("id") for category in categories], f"{file}: categories"):
        raise refusal("category-id-type", file, problem, [category.get("id") for category in categories])
    for category in categories:
        if not isinstance(category.get("name"), str) or category.get("isthing") not in (0, 1):
            message = (
                f"{file}: the category {category} needs a name that is text, and isthing 1 for what is countable, "
                "else 0."
            )
            raise refusal("category-name", file, message, [category.get("id")])
    firsts: dict[str, Entry] = {}
    for category in categories:
        firsts.setdefault(category["name"].strip(), category)  # reading reports the others
    with located(file):
        return category_classes(things_first(firsts.values()))


class PathSetter:
    """Makes the names of images and PNGs absolute.

    Args:
        part: that they are of.
    """

    def __init__(self, part: Part) -> None:
        source, options = part.annotations, part.options
        self._images = NameResolver(part.images, bool(options.get("search")), source)
        self._labels = NameResolver(options["panoptic_root"], bool(options.get("search_panoptic")), source)

    def set(self, content: PanopticAnnotations, report: Report) -> None:
        """Sets those of what a file says, or a piece of one; reports names that several files may have."""
        for entries, resolver in ((content.images, self._images), (content.segments, self._labels)):
            for entry in entries.values():
                entry["file_name"] = resolver.path_of(entry["file_name"], report)


def read(part: Part, report: Report) -> PanopticAnnotations:
    """The images and segments of a part; names of images and PNGs are absolute."""
    content = read_panoptic(part.annotations, report)
    PathSetter(part).set(content, report)
    return content


LAYOUT = Layout("coco-panoptic", "panoptic", "a JSON in COCO's panoptic format, its PNGs, and images", find, read)

"""COCO's instances format, wherever JSON and images stand: as Roboflow, CVAT, Label Studio, labelme2coco, Datumaro,
supervision and COCO itself write them.

    train/_annotations.coco.json + train/*.jpg          Roboflow; valid/ and test/ likewise
    annotations/instances_default.json + images/        CVAT, Datumaro; also instances_Train.json + images/Train/
    result.json + images/                               Label Studio
    annotations.json + JPEGImages/                      labelme
    annotations/instances_train2017.json + train2017/   COCO
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..annotations.faults import SHOWN_IDS, Fault, Report, refusal, strict
from ..annotations.files import can_be_file
from ..annotations.findings import shown_ids
from ..annotations.ids import Id, kinds_problem
from ..annotations.instances import CocoInstances, read_instances
from ..annotations.json_file import Entry
from ..packed.loading import load_packed
from .annotation_files import assign_parts, described_parts, relative_to_root
from .coco_summaries import CocoSummary, coco_summaries
from .dataset import Part
from .image_names import NameResolver, locate
from .layout import Found, Layout, PackedPart, WantedParts
from .listing import Listing
from .part_names import part_of_path
from .same_classes import OneList, one_list


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """The instances files of a folder; of parts without one, files that only list images."""
    files = _files(listing, wanted)
    if not files:
        return None

    def images_of(path: str, part: str) -> str:
        return locate(listing, files[path].image_names, path, part).folder

    chosen = assign_parts(listing, list(files), wanted, images_of=images_of)
    summaries = {part: files[path] for part, path in chosen.items()}
    unused = unused_roots(list(summaries.values()))
    counts = {part: len(one.image_names) for part, one in summaries.items()}
    classes = _classes(listing, list(summaries.values()), unused)
    return Found(
        parts={
            part: _part(listing, one, part, unused, classes.options(listing.absolute(one.path)))
            for part, one in summaries.items()
        },
        classes=classes.classes,
        reason=f"COCO's instances files {described_parts(chosen, counts)}",
        has_masks=all(one.has_masks for one in summaries.values() if one.kind != "images"),
        faults=classes.faults,
    )


def _files(listing: Listing, wanted: WantedParts) -> dict[str, CocoSummary]:
    """The files that may be parts, by path; files of other kinds of annotations are where a user named them."""
    named = {relative_to_root(listing, part, value) for part, value in wanted.items() if value}
    summaries = coco_summaries(listing)
    files = {one.path: one for one in summaries if one.kind == "instances" or (one.path in named and one.used)}
    if files:
        parts = {part_of_path(path) for path in files}
        files |= {
            one.path: one for one in summaries if one.kind == "images" and part_of_path(one.path) not in parts | {""}
        }
    return files


def _part(
    listing: Listing, summary: CocoSummary, part: str, unused: Sequence[Id], of_classes: Mapping[str, Any]
) -> Part:
    if not summary.image_names:
        file = listing.absolute(summary.path)
        raise refusal("file-name", file, f"{file} lists no image with a file_name: add them, or leave it out.")
    images = locate(listing, summary.image_names, summary.path, part)
    options: dict[str, Any] = {**of_classes, **({"search": True} if images.search else {})}
    if unused:
        options["unused_categories"] = list(unused)
    return Part(listing.absolute(images.folder), listing.absolute(summary.path), options)


def unused_roots(summaries: Sequence[CocoSummary]) -> list[Id]:
    """Ids of categories that only head a list, as Roboflow writes them: the supercategory of others, of no object."""
    categories = [category for one in summaries for category in one.categories]
    used = frozenset().union(*(one.used for one in summaries))
    heads = [category.get("supercategory") for category in categories]
    roots: set[Id] = set()
    for category in categories:
        key = category.get("id")
        if isinstance(key, int | str) and category.get("supercategory") == "none" and category.get("name") in heads:
            roots |= {key} - used
    return sorted(roots, key=str)


def _classes(listing: Listing, summaries: Sequence[CocoSummary], unused: Sequence[Id]) -> OneList:
    """The categories of all parts by id; parts may lack some, but should not contradict each other."""
    lists: dict[str, list[tuple[Id, str]]] = {}
    for one in summaries:
        own = lists.setdefault(listing.absolute(one.path), [])
        for category in one.categories:
            key, name = category.get("id"), category.get("name")
            if isinstance(key, int | str) and key not in unused:  # reading refuses other ids
                own.append((key, str(key if name is None else name)))
    if not any(lists.values()):
        for one in summaries:
            ids, file = [category.get("id") for category in one.categories], listing.absolute(one.path)
            if problem := kinds_problem(ids, f"{file}: categories"):
                raise refusal("category-id-type", file, problem, ids)
        file = listing.absolute(summaries[0].path)
        raise refusal("no-categories", file, f"{file} has no categories: add the list of classes.")
    return one_list(lists)


def read(part: Part, report: Report) -> CocoInstances:
    """The images, with absolute file names, and annotations of a part."""
    content = read_instances(part.annotations, report)
    set_paths(content.images, part, report)
    if not (unused := set(part.options.get("unused_categories", ()))):
        return content
    unused -= {entry["category_id"] for entry in content.annotations or ()}
    return replace(content, class_names={key: name for key, name in content.class_names.items() if key not in unused})


def set_paths(images: list[Entry], part: Part, report: Report) -> None:
    """Makes file names absolute; where the report goes on, images that no file can have the name of keep none."""
    setter = PathSetter(part, report)
    setter.set(images)
    setter.finish()


class PathSetter:
    """Makes file names of images absolute, some images at a time.

    Args:
        part: that the images are of.
        report: gets each name that several files may have, and in the end one fault for all images without a name.
    """

    def __init__(self, part: Part, report: Report) -> None:
        self._part, self._report = part, report
        self._resolver = _resolver(part)
        self._nameless: list[Entry] = []  # the first of them, whole
        self._count = 0

    def set(self, images: list[Entry]) -> None:
        """Sets those of some images; one that no file can have the name of loses it."""
        for image in images:
            if can_be_file(image.get("file_name")):
                image["file_name"] = self._resolver.path_of(image["file_name"], self._report)
                continue
            self._nameless += [dict(image)] if len(self._nameless) < SHOWN_IDS else []
            self._count += 1
            image.pop("file_name", None)

    def finish(self) -> None:
        """Reports the images without a name, if there are any."""
        if not self._nameless:
            return
        first, source = self._nameless[0], self._part.annotations
        has = f"the file_name {first['file_name']!r}" if "file_name" in first else "no file_name"
        message = f"{source}: the image {first['id']!r} has {has}; write the name of its file."
        self._report(Fault("file-name", "error", source, message, shown_ids(self._nameless), self._count))


def read_packed(part: Part) -> PackedPart | None:
    """The same of a big file, for training.

    Raises:
        ValueError: a name that several files may have.
    """
    if (packed := load_packed(part.annotations)) is None:
        return None
    resolver = _resolver(part)
    records = packed.records(part.images).with_paths(lambda name: resolver.path_of(name, strict))
    ids = list(packed.class_names)
    unused = set(part.options.get("unused_categories", ())) - {ids[index] for index in packed.used_classes()}
    names = {key: name for key, name in packed.class_names.items() if key not in unused}
    places = {key: place for place, key in enumerate(names)}
    return PackedPart(names, records.with_classes([places.get(key, -1) for key in ids]))


def _resolver(part: Part) -> NameResolver:
    return NameResolver(part.images, bool(part.options.get("search")), part.annotations)


LAYOUT = Layout(
    "coco", "instances", "a JSON in COCO's instances format for each part, and images", find, read, read_packed
)

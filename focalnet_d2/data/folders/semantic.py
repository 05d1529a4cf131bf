"""Images and label PNGs: semantic folders as annotation tools and data sets have them.

    images/*.jpg + masks/*.png, labels/ or annotations/, with the parts above or below      most
    a.jpg + a_mask.png in one folder                                                        Roboflow
    leftImg8bit/.../a_leftImg8bit.png + gtFine/.../a_gtFine_labelIds.png                    Cityscapes
    JPEGImages/ + SegmentationClass/ + ImageSets/Segmentation/train.txt                     Pascal VOC, CVAT

Pixel values are the ids of the classes, or colors where the list of classes has them (`class_files`).
"""

import itertools
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault, Report, refusal
from ..shards.files import is_folder
from .annotation_files import assign_parts, described_parts, relative_to_root
from .dataset import ListedImage, ListedImages, Part
from .label_pairs import (
    LABEL_SUFFIXES,
    LabelGroup,
    Pair,
    Pairs,
    best_paired,
    images_by_stem,
    label_groups,
    paired,
    split_labels,
)
from .layout import Found, Layout, WantedParts
from .listing import Listing, common_folder, is_below
from .part_names import grouped_by_part, in_order, part_of_name
from .semantic_classes import classes_of_labels
from .stored_texts import StoredTexts, TextSet, sorted_texts
from .text_lines import each_filled_line

logger = logging.getLogger(__name__)


def find(listing: Listing, wanted: WantedParts) -> Found | None:
    """Images with label files, and what their values mean."""
    groups = label_groups(listing)
    if not groups:
        return None
    group = _chosen_group(listing, groups, wanted)
    parts = _parts(listing, group.pairs, wanted)
    labels = StoredTexts(label for of_part in parts.values() for label in of_part.labels)
    classes, options, source = classes_of_labels(listing, labels)
    options["ending"] = group.ending
    lists = _lists(listing) if set(parts) == {"train"} and not any(wanted.values()) else {}
    found = {name: _part(listing, of_part, options) for name, of_part in parts.items()}
    if lists:
        train = found["train"]
        found = {
            name: replace(train, options={**train.options, "stems": listing.absolute(path)})
            for name, path in lists.items()
        }
    counts = {name: len(of_part) for name, of_part in parts.items()}
    folders = {name: common_folder(of_part.labels) for name, of_part in parts.items()}
    reason = f"images and label files {described_parts(folders, counts, 'pairs')}; classes from {source}"
    return Found(found, classes, reason)


def _chosen_group(listing: Listing, groups: Sequence[LabelGroup], wanted: WantedParts) -> LabelGroup:
    """The label files that are meant: of several kinds for the same images, those below a folder that a user named."""
    if _are_of_different_images(groups):
        return _joined(groups)
    values = [relative_to_root(listing, part, value) for part, value in wanted.items() if value]
    named = [one for one in groups if any(is_below(label, value) for label in one.pairs.labels for value in values)]
    if named and _are_of_different_images(named):
        return _joined(named)
    folders = [one.folder or f"*{one.ending}" for one in groups]
    choices = " or ".join(f"data.train={common_folder(one.pairs.labels)}" for one in groups)
    message = f"{listing.root} has label files in {some_of(folders, 5)}: choose one by {choices}."
    raise refusal("several-candidates", listing.root, message, folders)


def _are_of_different_images(groups: Sequence[LabelGroup]) -> bool:
    seen = TextSet()
    are_apart = all(seen.add(image) for one in groups for image in one.pairs.images)
    return are_apart and len({one.ending for one in groups}) == 1


def _joined(groups: Sequence[LabelGroup]) -> LabelGroup:
    first, *others = groups
    if not others:
        return first
    pairs = Pairs((pair.image, pair.label) for one in groups for pair in one.pairs)
    return LabelGroup(first.folder, first.ending, pairs, StoredTexts(label for one in groups for label in one.lonely))


def _parts(listing: Listing, pairs: Pairs, wanted: WantedParts) -> dict[str, Pairs]:
    """The pairs of each part: as wanted, else by the names of their folders; without such names all are training."""
    left, parts = pairs, dict[str, Pairs]()
    for part, value in wanted.items():
        if value:
            parts[part], left = _wanted(left, part, relative_to_root(listing, part, value))
            if not parts[part]:
                raise ValueError(f"data.{part}={value} has no image with a label file that is not of another part.")
    counts = Counter(pair.part for pair in left)
    by_name, unnamed = grouped_by_part(counts, str, parts)
    if unnamed:
        logger.warning("%s: %d images left out, because no part is in their path.", listing.root, counts[""])
    for part, said in by_name.items():
        if part not in parts:
            parts[part] = left.where(lambda pair, said=said: pair.part in said)
    return {part: parts[part] for part in in_order(parts)}


def _wanted(pairs: Pairs, part: str, folder: str) -> tuple[Pairs, Pairs]:
    """The pairs in a folder, of which only those count that say the part if some do; and all others."""

    def is_inside(pair: Pair) -> bool:
        return is_below(pair.label, folder) or is_below(pair.image, folder)

    has_own = any(is_inside(pair) and pair.part == part for pair in pairs)

    def is_wanted(pair: Pair) -> bool:
        return is_inside(pair) and (not has_own or pair.part == part)

    return pairs.where(is_wanted), pairs.where(lambda pair: not is_wanted(pair))


def _part(listing: Listing, pairs: Pairs, options: dict[str, Any]) -> Part:
    """A part with the folders of its images and label files, below which there may be those of other parts."""
    top, labels = common_folder(pairs.images), common_folder(pairs.labels)
    folders = {"image_folders": _folders(pairs.images, top), "label_folders": _folders(pairs.labels, labels)}
    return Part(listing.absolute(top), listing.absolute(labels), {**options, **folders})


def _folders(paths: Sequence[str], top: str) -> list[str]:
    """The folders of some files, relative to one above them; "" is that one."""
    return sorted({path.rpartition("/")[0].removeprefix(top).lstrip("/") for path in paths})


def _lists(listing: Listing) -> dict[str, str]:
    """Lists of stems that Pascal VOC has beside its folders, by part."""
    paths = [path for path in listing.with_suffix(".txt") if f"/{path}".find("/ImageSets/Segmentation/") >= 0]
    by_part = {path: part_of_name(PurePosixPath(path).stem) for path in paths}
    paths = [path for path in paths if by_part[path]]
    return assign_parts(listing, paths, {}) if "train" in by_part.values() else {}


def read(part: Part, report: Report) -> ListedImages:
    """The images of a part and their label files.

    Raises:
        FileNotFoundError: a folder of the part does not exist.
        ValueError: through `report`: label files without an image, or no image with labels.
    """
    for folder, what in ((part.images, "images"), (part.annotations, "label files")):
        if not is_folder(folder):
            raise FileNotFoundError(f"The folder of {what} {folder} does not exist: correct its path.")
    listing = Listing(os.path.commonpath([part.images, part.annotations]))
    images, labels = _files(listing, part)
    ending = part.options.get("ending")
    if stems := part.options.get("stems"):
        images, labels = _listed(images, labels, stems, ending or "")
    by_stem = images_by_stem(images)
    if ending is None:
        group = best_paired(listing, by_stem, labels, "")
    else:
        group = paired(listing, by_stem, labels, "", ending)
    _report_alone(listing, group, images, part, report)
    return ListedImages(
        group.pairs, lambda pair: ListedImage(listing.absolute(pair.image), listing.absolute(pair.label))
    )


def _files(listing: Listing, part: Part) -> tuple[Sequence[str], Sequence[str]]:
    """Images and label files in the folders of a part, relative to the root of the listing."""
    image_root, label_root = (_relative(folder, str(listing.root)) for folder in (part.images, part.annotations))
    images, groups = split_labels(listing.below(image_root, listing.images))
    if image_root == label_root:
        labels: Sequence[str] = StoredTexts(sorted_texts(itertools.chain.from_iterable(groups.values())))
    else:
        labels = listing.below(label_root, listing.with_suffix(*LABEL_SUFFIXES))
        images = StoredTexts(
            path for path in images if not (is_below(path, label_root) and path.lower().endswith(LABEL_SUFFIXES))
        )
    own_images = _inside(images, image_root, part.options.get("image_folders"))
    return own_images, _inside(labels, label_root, part.options.get("label_folders"))


def _inside(paths: Sequence[str], root: str, folders: Sequence[str] | None) -> Sequence[str]:
    """Those of the files that lie in one of some folders, which are relative to a root; None for all."""
    if folders is None:
        return paths
    places = {"/".join(filter(None, (root, folder))) for folder in folders}
    return StoredTexts(path for path in paths if path.rpartition("/")[0] in places)


def _relative(folder: str, top: str) -> str:
    return Path(os.path.relpath(folder, top)).as_posix().removeprefix(".")


def _listed(
    images: Sequence[str], labels: Sequence[str], path: str, ending: str
) -> tuple[Sequence[str], Sequence[str]]:
    """Images and label files whose stems a list has."""
    stems, of_labels = TextSet(), TextSet()
    for line in each_filled_line(path):
        stem = PurePosixPath(line.split()[0].replace("\\", "/")).name
        stems.add(stem)
        of_labels.add(f"{stem}{ending}".lower())
    chosen = StoredTexts(label for label in labels if PurePosixPath(label).stem.lower() in of_labels)
    return StoredTexts(image for image in images if PurePosixPath(image).stem in stems), chosen


def _report_alone(listing: Listing, group: LabelGroup, images: Sequence[str], part: Part, report: Report) -> None:
    """Reports label files without an image, and images without a label file, which are left out."""
    if group.lonely:
        message = (
            f"{len(group.lonely)} label files in {part.annotations} have no image in {part.images}: "
            f"{some_of(map(listing.absolute, group.lonely))}; add the images, or remove the label files."
        )
        report(Fault("label-without-image", "error", part.annotations, message, tuple(group.lonely), len(group.lonely)))
    if not group.pairs:
        message = (
            f"No image in {part.images} has a label file in {part.annotations}: give label files the names of their "
            "images, or swap the two folders if the labels are in the first."
        )
        report(Fault("no-labels", "error", part.annotations, message))
    known = TextSet(group.pairs.images)
    if alone := StoredTexts(image for image in images if image not in known):
        message = f"{len(alone)} images in {part.images} have no label file and are left out: {some_of(alone)}."
        report(Fault("image-without-label", "warning", part.images, message, tuple(alone), len(alone)))


LAYOUT = Layout("semantic", "semantic", "images and PNGs with the class of every pixel", find, read)

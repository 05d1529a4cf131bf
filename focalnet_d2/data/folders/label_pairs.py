"""Which label file belongs to which image: by the stem, without what tools append to it, and by part and sub-folder."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from ..annotations.faults import refusal
from .listing import Listing
from .part_names import part_of_name, part_of_path
from .stored_texts import KeyedTexts, StoredTexts, TextSet

LABEL_FOLDERS = {
    *("annotation", "annotations", "gt", "gtfine", "groundtruth", "label", "labels", "mask", "masks", "segmentation"),
    *("segmentations", "segmentationclass", "segmentationclassaug", "segmentationclasspng", "semantic", "semseg"),
    *("trainannot", "valannot", "testannot"),
}
LABEL_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
_OTHER_TRUTH = {"depth", "instance", "instances", "panoptic", "segmentationobject"}
_PICTURES = {"color", "colored", "colors", "rgb", "vis", "visualization"}  # of labels, for people
_ENDINGS = (  # of the stems of label files, the first that a folder has
    *("_gtfine_labeltrainids", "_labeltrainids", "_gtfine_labelids", "_labelids", "_segmentation", "_masks", "_mask"),
    *("-mask", "_labels", "_label", "_seg", "_gt", "_l", ""),
)
_NO_LABELS = ("_instanceids", "_instancetrainids", "_color", "_colors", "_panoptic", "_polygons")
_IMAGE_ENDINGS = ("_leftimg8bit", "_image", "_img", "_sat", "_rgb")
_IMAGE_FOLDERS = {"image", "images", "img", "imgs", "jpegimages", "leftimg8bit", "photos", "rgb"}


@dataclass(frozen=True)
class Pair:
    """An image and its label file, as relative paths, and the part that their folders say."""

    image: str
    label: str
    part: str


class Pairs(Sequence[Pair]):
    """Pairs, each made when it is asked for.

    Args:
        files: an image and its label file each.

    Attributes:
        images, labels: as many of one as of the other.
    """

    def __init__(self, files: Iterable[tuple[str, str]] = ()) -> None:
        self.images, self.labels = StoredTexts(), StoredTexts()
        for image, label in files:
            self.add(image, label)

    def add(self, image: str, label: str) -> None:
        """Adds a pair at the end."""
        self.images.append(image)
        self.labels.append(label)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: Any) -> Any:
        """A pair by its place."""
        return _pair(self.images[place], self.labels[place])

    def __iter__(self) -> Iterator[Pair]:
        return map(_pair, self.images, self.labels)

    def where(self, is_chosen: Callable[[Pair], bool]) -> "Pairs":
        """Those of which a condition is true."""
        return Pairs((one.image, one.label) for one in self if is_chosen(one))


def _pair(image: str, label: str) -> Pair:
    return Pair(image, label, _folder_part(label) or _folder_part(image))


@dataclass(frozen=True)
class LabelGroup:
    """Label files of one kind.

    Attributes:
        folder: the folder that they share, without parts; "" where images and labels lie together.
        ending: what the stem of a label file has beyond that of its image, in small letters.
        pairs: in the order of the label files.
        lonely: label files without an image.
    """

    folder: str
    ending: str
    pairs: Pairs
    lonely: Sequence[str]


def label_groups(listing: Listing) -> list[LabelGroup]:
    """Kinds of label files of which some have an image: of one folder only those whose ending fits the most images.

    Raises:
        ValueError: a label file that two images fit.
    """
    images, labels = split_labels(listing.images)
    by_stem = images_by_stem(images)
    groups = []
    for root, paths in labels.items():
        group = best_paired(listing, by_stem, paths, root)
        if group.pairs:
            groups.append(group)
    return groups


def best_paired(listing: Listing, by_stem: KeyedTexts, labels: Sequence[str], root: str) -> LabelGroup:
    """The pairs of the ending that fits the most images, of equal ones the longest; see `paired`."""
    return max(
        (paired(listing, by_stem, labels, root, ending) for ending in _ENDINGS),
        key=lambda group: len(group.pairs),
    )


def split_labels(paths: Sequence[str]) -> tuple[StoredTexts, dict[str, StoredTexts]]:
    """Images, and label files by the folder that they share; "" for those among images that are called after one."""
    images, by_root = StoredTexts(), dict[str, StoredTexts]()
    for path in paths:
        root = _label_root(path.rpartition("/")[0])
        if root is None or path.rpartition(".")[0].lower().endswith(_NO_LABELS):
            continue
        if not root:
            images.append(path)
        elif path.lower().endswith(LABEL_SUFFIXES):
            if root not in by_root:
                by_root[root] = StoredTexts()
            by_root[root].append(path)
    if not any(map(_without_ending, images)):
        return images, by_root
    stems = TextSet(path.rpartition(".")[0] for path in images)
    alone, mixed = StoredTexts(), StoredTexts()
    for path in images:
        (mixed if (stem := _without_ending(path)) and stem in stems else alone).append(path)
    return (alone, {**by_root, "": mixed}) if mixed else (images, by_root)


def _without_ending(path: str) -> str:
    """The path of the image without suffix that a label file is called after; "" if it has no ending."""
    if not path.lower().endswith(LABEL_SUFFIXES):
        return ""
    stem = path.rpartition(".")[0]
    ending = next(ending for ending in _ENDINGS if stem.lower().endswith(ending))
    return stem[: -len(ending)] if ending else ""


def images_by_stem(images: Sequence[str]) -> KeyedTexts:
    """Finds images by their stems without what tools append to them."""
    return KeyedTexts(images, _image_stem)


def paired(listing: Listing, by_stem: KeyedTexts, labels: Sequence[str], root: str, ending: str) -> LabelGroup:
    """Pairs of images and label files of one ending.

    Args:
        by_stem: the images by their stems.

    Raises:
        ValueError: a label file that two images fit.
    """
    pairs, lonely = Pairs(), StoredTexts()
    for label in labels:
        stem = PurePosixPath(label).stem
        if not stem.lower().endswith(ending):
            continue
        fitting = _nearest(list(by_stem.found(stem[: len(stem) - len(ending)])), label)
        if len(fitting) > 1:
            file = listing.root / label
            message = (
                f"The label file {file} may belong to {fitting[0]} or {fitting[1]} in {listing.root}: give each image "
                "a name of its own, or keep images and labels in the same sub-folders."
            )
            raise refusal("ambiguous-label-file", file, message, fitting)
        if fitting:
            pairs.add(fitting[0], label)
        else:
            lonely.append(label)
    return LabelGroup(root, ending, pairs, lonely)


def _nearest(images: list[str], label: str) -> list[str]:
    """Those of the images of one stem that a label may belong to: of its part and sub-folder, where that tells."""
    part, below = _folder_part(label), _sub_folder(label)
    own = [image for image in images if _folder_part(image) == part]
    images = own or [image for image in images if "" in (part, _folder_part(image))]
    return [image for image in images if _sub_folder(image) == below] or images


@lru_cache(maxsize=1024)
def _label_root(folder: str) -> str | None:
    """A folder of label files down to where it is called so, without parts; "" for another, None for one of another
    kind of truth."""
    folders = folder.split("/")
    words = [set(re.split(r"[^a-z0-9]+", folder.lower())) for folder in folders]
    if any(_OTHER_TRUTH & one or (_PICTURES & one and LABEL_FOLDERS & one) for one in words):
        return None
    last = max((index for index, one in enumerate(words) if LABEL_FOLDERS & one), default=-1)
    kept = [folder for folder in folders[: last + 1] if not part_of_name(folder) or LABEL_FOLDERS & {folder.lower()}]
    return "/".join(kept) if kept or last < 0 else folders[last]


def _image_stem(path: str) -> str:
    stem = PurePosixPath(path).stem
    ending = next((ending for ending in _IMAGE_ENDINGS if stem.lower().endswith(ending)), "")
    return stem[: len(stem) - len(ending)]


def _folder_part(path: str) -> str:
    return _part_of_folder(path.rpartition("/")[0])


@lru_cache(maxsize=1024)
def _part_of_folder(folder: str) -> str:
    return part_of_path(folder)


def _sub_folder(path: str) -> tuple[str, ...]:
    """The folders of a file that are neither parts nor called after images or labels."""
    roles = LABEL_FOLDERS | _IMAGE_FOLDERS
    return tuple(
        folder
        for folder in path.split("/")[:-1]
        if not part_of_name(folder) and not roles & set(re.split(r"[^a-z0-9]+", folder.lower()))
    )

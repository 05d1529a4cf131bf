"""The class list of a semantic folder: of a file, else of the values of its label files."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from focalnet_d2.utils.text import some_of
from focalnet_d2.utils.usable_cores import usable_cores

from ..annotations.faults import refusal
from ..class_map import ClassMap, class_map
from ..panoptic_labels import open_label_image
from ..semantic_labels import read_label_values
from .class_files import ClassFile, ListedClass, find_class_file
from .listing import Listing

IGNORED_VALUE = 255  # where no list of classes says another
_BINARY = {0, 255}
_CHUNK = 256  # label files that wait for a thread
_MOST_CLASSES = 1000  # of files whose values are the only list of classes

ClassesAndOptions = tuple[ClassMap, dict[str, Any], str]


def classes_of_labels(listing: Listing, labels: Sequence[str]) -> ClassesAndOptions:
    """The class list of label files, the options of their parts, and in one phrase where the list comes from.

    The options are `ignored`, values of pixels without a class, and `colors`, [value, r, g, b] of each class where the
    files are color images.

    Args:
        labels: relative paths.

    Raises:
        ValueError: a list of classes, or without one a label file, that cannot be used.
    """
    listed = find_class_file(listing)
    if listed is None:
        return _classes_of_values(_values_of(listing, labels), listing.root)
    if all(one.color is not None for one in listed.classes) and _is_colored(listing, labels[0]):
        return _listed_classes(listed, colored=True)
    if len(listed.classes) <= 2 and _values_of(listing, labels) == _BINARY:
        return _binary_classes(listed)
    return _listed_classes(listed, colored=False)


def _classes_of_values(values: set[int], root: Path) -> ClassesAndOptions:
    if values == _BINARY:
        classes = class_map([0, 255], ["background", "foreground"], things=False)
        return classes, {}, "the values 0 (background) and 255 (foreground) of the label files"
    ids = sorted(values - {IGNORED_VALUE})
    if not ids or len(ids) > _MOST_CLASSES:
        message = (
            f"The label files have {len(ids)} values besides {IGNORED_VALUE}, which cannot be classes: write the class "
            "of each pixel into them, and the names into classes.txt."
        )
        raise refusal("no-class-list", root, message)
    classes = class_map(ids, [f"class {value}" for value in ids], things=False)
    return classes, {"ignored": [IGNORED_VALUE]}, f"the values {some_of(ids, 20)} of the label files"


def _listed_classes(listed: ClassFile, *, colored: bool) -> ClassesAndOptions:
    ids = [one.value for one in listed.classes]
    colors = [one.color for one in listed.classes] if all(one.color for one in listed.classes) else None
    classes = class_map(ids, [one.name for one in listed.classes], things=False, colors=colors)
    ignored = {one.value for one in listed.ignored} | ({IGNORED_VALUE} - set(ids))
    options: dict[str, Any] = {"ignored": sorted(ignored)}
    if colored:
        options["colors"] = [[one.value, *one.color] for one in (*listed.classes, *listed.ignored) if one.color]
    return classes, options, listed.path


def _binary_classes(listed: ClassFile) -> ClassesAndOptions:
    """The classes of a 0/255 mask under the names of a list, which may leave the background out."""
    names = [one.name for one in [ListedClass(0, "background"), *listed.classes][-2:]]
    return class_map([0, 255], names, things=False), {}, f"{listed.path}, for the values 0 and 255"


def _is_colored(listing: Listing, label: str) -> bool:
    return open_label_image(listing.root / label).mode in ("RGB", "RGBA")


def _values_of(listing: Listing, labels: Sequence[str]) -> set[int]:
    """All values of the label files."""
    values: set[int] = set()
    paths = (listing.root / label for label in labels)
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        while chunk := list(islice(paths, _CHUNK)):
            values.update(*pool.map(_values, chunk))
    return values


def _values(path: Path) -> set[int]:
    return set(np.unique(read_label_values(path)).tolist())

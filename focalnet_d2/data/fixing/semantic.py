"""A mended semantic set: images, PNGs whose values are classes or ignored, and the list of classes."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from focalnet_d2.utils.atomic_write import atomic_open, write_atomically

from ..checks.semantic import are_masks_of_255, counted_from_one
from ..class_changes import ClassChanges
from ..class_map import ClassMap
from ..folders.dataset import FolderDataset, ListedImage, image_name
from ..folders.layouts import LAYOUTS
from ..folders.records import part_decoding
from ..semantic_labels import read_label_values
from .images import ImageFolder, link_or_copy
from .task import Task

_IGNORED = 255  # where the data set itself has no value for pixels without a class


def write_semantic(task: Task, folder: ImageFolder, labels: Path) -> None:
    """Writes the mended label files of a part, and its images.

    Args:
        folder: for the images.
        labels: folder for the label files.

    Raises:
        ValueError: no image with labels is left.
    """
    part, changes = task.part, task.changes
    listed: Sequence[ListedImage] = LAYOUTS[task.dataset.layout].read(part, changes.fault)
    mender = _Mender(task.dataset, task.name, listed)
    with_class = 0
    for one in listed:
        key = image_name(one.file_name, part)
        try:
            if key in task.left_out:
                raise ValueError(task.left_out[key])
            values, is_changed, what = mender.mended(str(one.truth))
            height, width = values.shape
            placed = folder.place(one.file_name, (height, width), exactly=True)
        except (ValueError, OSError) as error:
            changes.add(part.annotations, key, f"image and labels left out: {error}")
            continue
        for change in (placed.what, what):
            if change:
                changes.add(part.annotations, key, change)
        target = labels / str(PurePosixPath(placed.name).with_suffix(".png"))
        if is_changed:
            _write_labels(values, target)
        else:
            link_or_copy(str(one.truth), target)
        with_class += not np.isin(values, mender.ignored).all()
    if not with_class:
        raise ValueError(f"{part.annotations} cannot be mended: no image with a pixel of a class is left.")


class _Mender:
    """Mends the label files of a part; those of colors become values."""

    def __init__(self, dataset: FolderDataset, name: str, listed: Sequence[ListedImage]) -> None:
        decoding = part_decoding(dataset, name, ClassChanges())
        classes = tuple(dataset.classes.contiguous)
        self.colors = decoding.colors
        self.ignored = sorted(dataset.parts[name].options.get("ignored", ())) or [_IGNORED]
        self.new = {
            value: classes[label] if label != decoding.ignore_label else value if not self.colors else self.ignored[0]
            for value, label in decoding.labels
        }
        self.systematic = self._systematic(dataset.classes, self._all_values(listed))

    def _systematic(self, classes: ClassMap, used: set[int]) -> str:
        """Mends values that are wrong in all files alike, and says how in one phrase."""
        if counted_from_one(classes, used - set(self.ignored)):
            self.new |= {value: value - 1 for value in range(1, len(classes) + 1)}
            return "1 subtracted from the values, which count the classes from 1"
        if are_masks_of_255(classes, used):
            self.new[255] = 1
            return "255 set to 1, the class of the object"
        return ""

    def _all_values(self, listed: Sequence[ListedImage]) -> set[int]:
        """Of all label files that can be read."""
        found: set[int] = set()
        for one in listed:
            try:
                found |= set(np.unique(read_label_values(str(one.truth), colors=self.colors)).tolist())
            except (ValueError, OSError):
                continue
        return found

    def mended(self, label_file: str) -> tuple[np.ndarray, bool, str]:
        """Values (H, W), whether they differ from those of the file, and in one phrase what was wrong.

        Raises:
            FileNotFoundError, ValueError: the file cannot be read.
        """
        values = read_label_values(label_file, colors=self.colors)
        what = [self.systematic] if self.systematic else []
        found, places = np.unique(values, return_inverse=True)
        if unknown := [value for value in found.tolist() if value not in self.new]:
            what.append(f"pixels of {unknown}, which are no class, set to {self.ignored[0]} (ignored)")
        table = np.array([self.new.get(value, self.ignored[0]) for value in found.tolist()])
        is_changed = self.colors or bool((table != found).any())
        return table[places].reshape(values.shape), is_changed, "; ".join(what)


def _write_labels(values: np.ndarray, path: Path) -> None:
    dtype = np.uint8 if values.max(initial=0) < 256 else np.uint16
    with atomic_open(path, sync=False) as file:
        Image.fromarray(values.astype(dtype)).save(file, format="PNG")


def write_class_list(dataset: FolderDataset, path: Path) -> None:
    """Writes the classes and the ignored values as a list that is found beside label files."""
    ignored = sorted({value for part in dataset.parts.values() for value in part.options.get("ignored", ())})
    rows = [{"id": value, "name": f"ignore{'_' * number}"} for number, value in enumerate(ignored)]
    rows += [{"id": entry.dataset_id, "name": entry.name} for entry in dataset.classes.classes]
    write_atomically(path, json.dumps(rows, indent=1, ensure_ascii=False))

"""Which images belong to a part: all, those of a list, or those that the split gives it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.text import some_of

from ..annotations.faults import Report, strict
from ..packed.records import PackedRecords
from .contents import ImageFile, image_files, only_images
from .dataset import FolderDataset, Part, image_name
from .layout import Layout
from .layouts import LAYOUTS
from .splitting import Draw

LIST_NAME = "{}_images.txt"


def read_part(dataset: FolderDataset, name: str, report: Report = strict) -> Any:
    """What the files say of one part, and of its images alone.

    Args:
        name: a key of `dataset.parts`.
        report: gets the faults of the files; `strict` raises the first error.

    Returns:
        What the layout reads (`layout.Layout.read`), with the images of the part's list or share.

    Raises:
        FileNotFoundError, ValueError: the files cannot be used, or the list names an image that they lack.
    """
    content = LAYOUTS[dataset.layout].read(dataset.parts[name], report)
    if has_all_images(dataset, name):
        return content
    return only_images(content, files_of_part(dataset, name, image_files(content)))


def has_all_images(dataset: FolderDataset, name: str) -> bool:
    """Whether all images that the files of a part name belong to it."""
    return not dataset.parts[name].image_list and (dataset.split is None or name not in ("train", "val"))


def files_of_part(dataset: FolderDataset, name: str, files: Mapping[str, ImageFile]) -> set[str]:
    """Paths of the images that the list or the split gives a part.

    Args:
        name: of a part that has not all images.
        files: each image that its files name, by its path.

    Raises:
        FileNotFoundError, ValueError: as `read_part`.
    """
    part = dataset.parts[name]
    if part.image_list:
        return _listed_files(part, files)
    names = set(split_names(dataset, part, files)[name])
    return {file for file in files if image_name(file, part) in names}


def write_lists(dataset: FolderDataset, folder: str | os.PathLike) -> FolderDataset:
    """Writes who is in which part where validation images are split off: `train_images.txt` and `val_images.txt`.

    Args:
        folder: of the run; it is made.

    Returns:
        The data set with the lists; itself if it has a validation part.

    Raises:
        FileNotFoundError, ValueError: the training part cannot be read or split.
    """
    if dataset.split is None or any(dataset.parts[name].image_list for name in ("train", "val")):
        return dataset
    train = dataset.parts["train"]
    lists = split_names(dataset, train, _all_files(LAYOUTS[dataset.layout], train))
    parts = dict(dataset.parts)
    for name, names in lists.items():
        path = Path(os.path.abspath(folder), LIST_NAME.format(name))
        write_atomically(path, "".join(f"{one}\n" for one in names).encode("utf-8", "surrogateescape"))
        parts[name] = replace(parts[name], image_list=str(path))
    return replace(dataset, parts=parts)


def _all_files(layout: Layout, part: Part) -> dict[str, ImageFile]:
    """Each image that the files of a part name, by its path."""
    if (packed := layout.read_packed(part)) is not None:
        return packed_files(packed.records)
    return image_files(layout.read(part, strict))


def packed_files(records: PackedRecords) -> dict[str, ImageFile]:
    """The same of packed records; an image that is there several times has the labels of all."""
    names, counts = records.file_names(), records.annotation_counts()
    labelled = {name for name, count in zip(names, counts, strict=True) if count}
    return {name: ImageFile(has_labels=name in labelled) for name in names}


def split_names(dataset: FolderDataset, part: Part, files: Mapping[str, ImageFile]) -> Mapping[str, Sequence[str]]:
    """Image names of the training and of the validation part, which a data set has no files of.

    Raises:
        ValueError: it has too few images, or settings that draw none.
    """
    names = {image_name(file, part): known for file, known in files.items()}
    draw = draw_of(dataset, names.items())
    drawn: dict[str, list[str]] = {"train": [], "val": []}
    for name in sorted(names):
        drawn["val" if draw.is_val(name, _class_of(dataset, names[name])) else "train"].append(name)
    return drawn


def draw_of(dataset: FolderDataset, images: Iterable[tuple[str, ImageFile]]) -> Draw:
    """Which images of the training part are for validation.

    Args:
        images: all of it, by their names.

    Raises:
        ValueError: as `split_names`.
    """
    assert dataset.split is not None
    return Draw(((name, _class_of(dataset, known), known.has_labels) for name, known in images), dataset.split)


def _class_of(dataset: FolderDataset, image: ImageFile) -> Any:
    """The class that an image is drawn from; None where images have none."""
    return image.class_id if dataset.kind == "classification" else None


def _listed_files(part: Part, files: Mapping[str, Any]) -> set[str]:
    """Paths of the images that the part's list names."""
    try:
        lines = Path(part.image_list).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"The list of images {part.image_list} does not exist: start again with data=DIR, which writes it."
        ) from None
    by_name = {image_name(file, part): file for file in files}
    names = {line if line in by_name else line.strip() for line in lines if line.strip()}  # blanks may be part of one
    if unknown := sorted(names - by_name.keys()):
        raise ValueError(
            f"{part.image_list} names {len(unknown)} images that {part.annotations} lacks, {some_of(unknown)}: correct "
            "the list, or start again with data=DIR."
        )
    if not names:
        raise ValueError(f"The list of images {part.image_list} is empty: name one image a line.")
    return {by_name[name] for name in names}

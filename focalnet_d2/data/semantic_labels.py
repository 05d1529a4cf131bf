"""Semantic label files: images of one channel whose values are classes, with one value for pixels that do not count."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from focalnet_d2.utils.text import some_of

from .panoptic_labels import open_label_image

_MODES = ("L", "P", "I", "I;16", "I;16L", "I;16B")  # of a palette image, the index is the label


def read_semantic_labels(file_name: str | Path) -> np.ndarray:
    """Labels of a file of 8, 16 or 32 bits, (H, W), uint8, uint16 or int32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or has more than one channel.
    """
    image = open_label_image(file_name)
    if image.mode not in _MODES:
        raise ValueError(
            f"The semantic label file {file_name} has pixels of Pillow's mode {image.mode!r}; labels are stored in one "
            "channel of 8 or 16 bits, or as a palette."
        )
    return np.array(image)


def unknown_labels_message(file_name: str | Path, labels: Iterable[int], num_classes: int, ignore_label: int) -> str:
    """What is wrong with a ground-truth file with labels that are no class; training and scoring refuse it."""
    return (
        f"The label file {file_name} holds the labels {some_of(labels, 5)}; allowed are 0 to {num_classes - 1} and "
        f"{ignore_label} for pixels without a class."
    )


def check_some_label(name: str, files: Sequence[str], ignore_label: int) -> None:
    """Whether any pixel has a class; reads files until one has, which is the first of all but broken data sets.

    Args:
        name: the data set, for messages.

    Raises:
        FileNotFoundError, ValueError: no file has a labelled pixel, or one that is read cannot be.
    """
    if files and not any((read_semantic_labels(file) != ignore_label).any() for file in files):
        raise ValueError(
            f"The data set {name} has no labels: every pixel of its {len(files)} label files, {files[0]} for one, is "
            f"{ignore_label}, which is ignored; write the classes from 0 on."
        )

"""Semantic label files: images of one channel whose values are classes, with one value for pixels that do not count."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from focalnet_d2.utils.text import some_of

from .panoptic_labels import open_label_image

_MODES = ("L", "P", "I", "I;16", "I;16L", "I;16B")  # of a palette image, the index is the label


def read_record_labels(record: Mapping[str, Any]) -> np.ndarray:
    """Labels of a dataset dict with `sem_seg_file_name`, (H, W): its own values, or what its `label_decoding` makes of
    them.

    Raises:
        FileNotFoundError, ValueError: as `read_semantic_labels` and `LabelDecoding.decode`.
    """
    file_name, decoding = record["sem_seg_file_name"], record.get("label_decoding")
    if decoding is None:
        return read_semantic_labels(file_name)
    return decoding.decode(read_label_values(file_name, colors=decoding.colors), file_name)


def read_label_values(file_name: str | Path, *, colors: bool = False) -> np.ndarray:
    """Pixel values of a label file as labelling tools write it: also 1-bit, and gray in three equal channels.

    Args:
        colors: whether colors are classes: then values are 65536 R + 256 G + B.

    Returns:
        (H, W) integers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or is a color image where colors are no classes, or the other way round.
    """
    image = open_label_image(file_name)
    if colors:
        pixels = np.asarray(image.convert("RGB")).astype(np.int64)  # (H, W, 3)
        return (pixels[..., 0] << 16) + (pixels[..., 1] << 8) + pixels[..., 2]
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode not in ("RGB", "RGBA", "LA"):
        return _gray(image, file_name)
    pixels = np.asarray(image)[..., : len(image.mode) - ("A" in image.mode)]
    if (pixels != pixels[..., :1]).any():
        raise ValueError(
            f"The label file {file_name} is a color image, and nothing says which color is which class: add a "
            "labelmap.txt (name:red,green,blue on each line) or a class_dict.csv (name,r,g,b)."
        )
    return np.ascontiguousarray(pixels[..., 0])


def read_semantic_labels(file_name: str | Path) -> np.ndarray:
    """Labels of a file of 8, 16 or 32 bits, (H, W), uint8, uint16 or int32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or has more than one channel.
    """
    return _gray(open_label_image(file_name), file_name)


def _gray(image: Image.Image, file_name: str | Path) -> np.ndarray:
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


def check_some_label(name: str, records: Sequence[Mapping[str, Any]], ignore_label: int) -> None:
    """Whether any pixel has a class; reads files until one has, which is the first of all but broken data sets.

    Args:
        name: the data set, for messages.
        records: dataset dicts with `sem_seg_file_name`.

    Raises:
        FileNotFoundError, ValueError: no file has a labelled pixel, or one that is read cannot be.
    """
    if records and not any((read_record_labels(record) != ignore_label).any() for record in records):
        raise ValueError(
            f"The data set {name} has no labels: every pixel of its {len(records)} label files, "
            f"{records[0]['sem_seg_file_name']} for one, is {ignore_label}, which is ignored; write the classes from 0 "
            "on."
        )

"""Semantic label files: images of one channel whose values are classes, with one value for pixels that do not count."""

from pathlib import Path

import numpy as np

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

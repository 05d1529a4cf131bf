"""From the pixel values of semantic label files to contiguous labels, wherever the files' own values are others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from focalnet_d2.utils.text import some_of

from .class_changes import ClassChanges
from .class_map import ClassMap

_LARGEST_TABLE = 1 << 16
Color = tuple[int, int, int]


@dataclass(frozen=True)
class LabelDecoding:
    """What the values of a data set's label files mean.

    Attributes:
        labels: (value of a pixel, its label), each value once; the label is a contiguous class or `ignore_label`.
        ignore_label: label of pixels without a class.
        colors: whether the files are color images, whose values are 65536 R + 256 G + B.
    """

    labels: tuple[tuple[int, int], ...]
    ignore_label: int = 255
    colors: bool = False

    def decode(self, values: np.ndarray, file_name: str | Path) -> np.ndarray:
        """Labels of pixels.

        Args:
            values: (H, W) integers, as `semantic_labels.read_label_values` gives them.
            file_name: for the error message.

        Returns:
            (H, W), uint8 where that holds all labels, else int32.

        Raises:
            ValueError: values that have no meaning.
        """
        known, labels = np.array(sorted(self.labels), np.int64).reshape(-1, 2).T  # the values rise
        found = np.unique(values)
        if unknown := np.setdiff1d(found, known).tolist():
            raise ValueError(self.unknown_values_message(file_name, unknown))
        dtype = np.uint8 if labels.max(initial=0) < 256 else np.int32
        if found[-1] < _LARGEST_TABLE:
            table = np.zeros(int(found[-1]) + 1, dtype)
            inside = known < len(table)
            table[known[inside]] = labels[inside]
            return table[values]
        return labels.astype(dtype)[np.searchsorted(known, values)]

    def unknown_values_message(self, file_name: str | Path, unknown: list[int]) -> str:
        """What is wrong with a file that holds these values."""
        ignored = [self._shown(value) for value, label in self.labels if label == self.ignore_label]
        classes = [self._shown(value) for value, label in sorted(self.labels) if label != self.ignore_label]
        also = f", and {some_of(ignored)} for pixels without a class" if ignored else ""
        what = "colors" if self.colors else "values"
        return (
            f"The label file {file_name} holds the {what} {some_of(map(self._shown, unknown), 5)}, which are no class; "
            f"the classes have {some_of(classes, 8)}{also}: correct the pixels, or add the class to the list of them."
        )

    def _shown(self, value: int) -> str:
        return str(color_of(value)) if self.colors else str(value)


def label_decoding(
    classes: ClassMap,
    changes: ClassChanges,
    *,
    ignored: tuple[int, ...] = (),
    colors: Mapping[int, Color] | None = None,
) -> LabelDecoding:
    """The decoding of files whose values are the ids of the classes, to the contiguous ids of the changed list.

    Args:
        classes: as in the files, before the changes.
        ignored: values of pixels without a class.
        colors: RGB of each id, and of ignored ones, where the files are color images.
    """
    changed, new_ids = changes.changed(classes), changes.new_ids(classes)
    ignore_label = ignore_label_of(changed)
    labels = dict.fromkeys(ignored, ignore_label)
    for value, new_id in new_ids.items():
        labels[int(value)] = ignore_label if new_id is None else changed.contiguous[new_id]
    if colors is None:
        return LabelDecoding(tuple(labels.items()), ignore_label)
    of_colors = {value_of(colors[value]): label for value, label in labels.items() if value in colors}
    return LabelDecoding(tuple(of_colors.items()), ignore_label, colors=True)


def ignore_label_of(classes: ClassMap) -> int:
    """The label of pixels without a class: 255, or 65535 where that is a class."""
    return 255 if len(classes) <= 255 else 65535


def value_of(color: Color) -> int:
    """The value that stands for a color."""
    red, green, blue = color
    return (red << 16) + (green << 8) + blue


def color_of(value: int) -> Color:
    """The color that a value stands for."""
    return value >> 16 & 255, value >> 8 & 255, value & 255

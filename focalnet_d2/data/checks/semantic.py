"""Semantic labels: values of pixels that are no class, and lists of classes that the values do not fit."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from focalnet_d2.utils.text import some_of

from ..annotations.faults import Fault
from ..class_map import ClassMap
from ..semantic_labels import read_label_values
from .label_files import read_labels
from .objects import of_image
from .tasks import LabelFindings, LabelTask

UNKNOWN = "unknown"
IGNORED = "ignored"


class ValueRow(NamedTuple):
    """What a value of label files means, and the share of all pixels that have it."""

    value: int
    meaning: str
    share: float


def check_semantic_image(task: LabelTask) -> LabelFindings:
    """The label file of one image."""
    findings, decoding = LabelFindings(), task.decoding
    assert decoding is not None
    pixels = read_labels(task, partial(read_label_values, colors=decoding.colors), findings)
    if pixels is None:
        return findings
    values, counts = np.unique(pixels, return_counts=True)
    meanings = {value: label for value, label in decoding.labels if label != decoding.ignore_label}
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        findings.counts["value", task.classes[meanings[value]] if value in meanings else value] += count
    if unknown := sorted(set(values.tolist()) - {value for value, _ in decoding.labels}):
        message = decoding.unknown_values_message(task.label_file, unknown)
        findings.faults.append(of_image(task, "label-value-unknown", "error", message))
    return findings


def check_semantic_part(source: str, classes: ClassMap, ignored: set[int], counts: Mapping[Any, int]) -> list[Fault]:
    """The values of all label files of a part.

    Args:
        source: folder of the label files.
        ignored: values of pixels without a class.
        counts: ("value", value) -> pixels.
    """
    rows = value_table(classes, ignored, counts)
    return [*_off_by_one(source, classes, rows), *_binary(source, classes, rows), *_nothing(source, rows)]


def value_table(classes: ClassMap, ignored: set[int], counts: Mapping[Any, int]) -> list[ValueRow]:
    """Each value that label files have: its class, "ignored" or "unknown", and its share of the pixels, by value."""
    pixels = {key[1]: count for key, count in counts.items() if key[0] == "value"}
    total = sum(pixels.values())
    names = {entry.dataset_id: entry.name for entry in classes.classes}
    meanings = {value: names.get(value, IGNORED if value in ignored else UNKNOWN) for value in pixels}
    return [ValueRow(value, meanings[value], count / total) for value, count in sorted(pixels.items())]


def _off_by_one(source: str, classes: ClassMap, rows: list[ValueRow]) -> Iterator[Fault]:
    """Classes that are counted from 0 in the list and from 1 in the files."""
    count = len(classes)
    if counted_from_one(classes, {row.value for row in rows if row.meaning != IGNORED}):
        message = (
            f"The label files in {source} have no 0, and {count}, which is no class of 0 to {count - 1}: they seem to "
            "count the classes from 1; subtract 1 from their values, or begin the list of classes at 1."
        )
        yield Fault("labels-from-one", "error", source, message, (str(count),))


def counted_from_one(classes: ClassMap, used: set[int]) -> bool:
    """Whether the values that are not ignored count from 1 what the list counts from 0."""
    count = len(classes)
    return bool(used) and (min(used), max(used)) == (1, count) and set(classes.contiguous) == set(range(count))


def are_masks_of_255(classes: ClassMap, used: set[int]) -> bool:
    """Whether the values are those of black and white masks, and white is no class."""
    return used == {0, 255} and 255 not in classes.contiguous and {0, 1} <= set(classes.contiguous)


def _binary(source: str, classes: ClassMap, rows: list[ValueRow]) -> Iterator[Fault]:
    """Masks of 0 and 255 whose object would be ignored."""
    if are_masks_of_255(classes, {row.value for row in rows}):
        message = (
            f"The label files in {source} have only the values 0 and 255, and 255 is no class: masks of one object; "
            "write 1 instead of 255."
        )
        yield Fault("labels-of-0-and-255", "warning", source, message, ("255",))


def _nothing(source: str, rows: list[ValueRow]) -> Iterator[Fault]:
    """Labels of which nothing can be learned, as `semantic_labels.check_some_label` refuses them."""
    if rows and all(row.meaning == IGNORED for row in rows):
        values = some_of([row.value for row in rows])
        message = f"The label files in {source} have no value but {values}, which is ignored: write those of classes."
        yield Fault("nothing-to-find", "error", source, message, tuple(str(row.value) for row in rows))

"""Which classes the images of a training set show, and how often an image is shown because of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .class_metadata import IGNORE_LABEL
from .semantic_labels import read_record_labels


def classes_of(record: Mapping[str, Any]) -> set[int]:
    """Classes that an image shows: of its objects, its segments or itself, or else of the pixels of its label file.

    Raises:
        FileNotFoundError, ValueError: the label file cannot be read.
    """
    for key in ("segments_info", "annotations"):
        if key in record:
            return {target["category_id"] for target in record[key]}
    if "class_id" in record:
        return {record["class_id"]}
    if "sem_seg_file_name" in record:
        labels = np.unique(read_record_labels(record)).tolist()
        return {label for label in labels if label >= 0 and label != IGNORE_LABEL}
    return set()


def repeat_factors(records: Iterable[Mapping[str, Any]], threshold: float) -> np.ndarray:
    """How often an image is shown for one showing of an image with common classes only (LVIS, arXiv:1908.03195).

    A class in a share f of the images has the factor max(1, sqrt(threshold / f)), an image the largest of its classes.

    Returns:
        (N,) factors of at least 1.

    Raises:
        ValueError: a threshold outside (0, 1].
        FileNotFoundError, ValueError: a label file cannot be read.
    """
    if not 0 < threshold <= 1:
        raise ValueError(
            f"dataloader.train.repeat_threshold is {threshold}: it is a share of the images, above 0 and at most 1, or "
            "0 to show all images alike."
        )
    shown = [classes_of(record) for record in records]
    images = Counter(label for classes in shown for label in classes)
    factor = {label: max(1.0, (threshold * len(shown) / count) ** 0.5) for label, count in images.items()}
    return np.array([max((factor[label] for label in classes), default=1.0) for classes in shown])


def count_labels(records: Sequence[Mapping[str, Any]], num_classes: int, *, pixels: bool) -> np.ndarray:
    """(K,) int64: how many pixels of the label files have each class, or how many images.

    Raises:
        FileNotFoundError, ValueError: a label file cannot be read.
    """
    counts = np.zeros(num_classes, np.int64)
    for index in range(len(records)):
        labels = read_record_labels(records[index])
        found = np.bincount(labels[(labels >= 0) & (labels < num_classes)].ravel(), minlength=num_classes)
        counts += found if pixels else found > 0
    return counts

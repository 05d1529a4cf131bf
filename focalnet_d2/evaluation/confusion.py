"""The maths of semantic segmentation scores: from classes of pixels to a confusion matrix to IoU and accuracy."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from focalnet_d2.data.panoptic_labels import label_runs
from focalnet_d2.data.semantic_labels import unknown_labels_message
from focalnet_d2.utils.text import some_of

MOST_CLASSES = 4096  # the matrix of an image takes 128 MiB


def check_classes(num_classes: int, ignore_label: int, classes_from: str, label_from: str) -> None:
    """Whether a confusion matrix can be made, and every class counts; training refuses such a label as well.

    Args:
        classes_from, label_from: what the user has set them with, for messages.

    Raises:
        ValueError: no class, too many, or one whose label is ignored.
    """
    check_class_count(num_classes, classes_from)
    if 0 <= ignore_label < num_classes:
        raise ValueError(
            f"{label_from} is {ignore_label}, which is one of the classes 0 to {num_classes - 1} that {classes_from} "
            f"gives, so that class would not count: choose a label that is no class."
        )


def check_class_count(num_classes: int, classes_from: str) -> None:
    """Raises ValueError where a confusion matrix cannot be made of no class, or of too many."""
    if not 1 <= num_classes <= MOST_CLASSES:
        raise ValueError(f"{classes_from} gives {num_classes} classes; 1 to {MOST_CLASSES} can be scored.")


def without_label(confusion: np.ndarray, label: int) -> np.ndarray:
    """(K + 1, K + 1) of `count_confusion` -> (K, K) with one class less, whose label means no class.

    Pixels that are predicted so although they have a class stand in the last row: they are wrong, as no class of their
    own.
    """
    moved = confusion.copy()
    moved[-1] += moved[label]
    moved[:, -1] += moved[:, label]
    return np.delete(np.delete(moved, label, 0), label, 1)


def count_confusion(
    predicted: np.ndarray, truth: np.ndarray, num_classes: int, ignore_label: int, where: str, truth_file: str | Path
) -> np.ndarray:
    """Pixels by predicted and true class.

    Args:
        predicted, truth: (H, W) labels.
        where: the prediction, for messages; truth_file: that of the true labels.

    Returns:
        (K + 1, K + 1) int64: row = predicted, column = true class, last column = ignored pixels, last row = 0.

    Raises:
        ValueError: maps of different sizes, or labels that are no class.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"The map of {where} is {predicted.shape} pixels (height, width), its ground truth {truth.shape}: predict "
            "at the size of the annotated image."
        )
    (rows, columns), lengths = label_runs(predicted, truth)
    rows, columns = rows.astype(np.int64), columns.astype(np.int64)
    columns[columns == ignore_label] = num_classes
    if (wrong := _outside(rows, num_classes)).size:
        raise ValueError(
            f"The map of {where} has the labels {some_of(wrong, 10)}; classes go from 0 to {num_classes - 1}."
        )
    if (wrong := _outside(columns, num_classes + 1)).size:
        raise ValueError(unknown_labels_message(truth_file, wrong, num_classes, ignore_label))
    side = num_classes + 1
    pixels = np.bincount(rows * side + columns, weights=lengths, minlength=side * side)
    return pixels.astype(np.int64).reshape(side, side)


def _outside(labels: np.ndarray, end: int) -> np.ndarray:
    """The labels below 0 or from `end` on, each once."""
    if 0 <= labels.min() <= labels.max() < end:
        return labels[:0]
    return np.unique(labels[(labels < 0) | (labels >= end)])


class ConfusionTally:
    """Confusion matrix of all images so far: `confusion` (K + 1, K + 1) int64, as of `count_confusion`."""

    def __init__(self, num_classes: int) -> None:
        self.confusion = np.zeros((num_classes + 1, num_classes + 1), np.int64)

    def add(self, cells: np.ndarray, pixels: np.ndarray) -> None:
        """Count an image: pixels (N,) of cells (N,), which are indices of the flattened matrix, each at most once."""
        self.confusion.reshape(-1)[cells] += pixels

    def merge(self, other: "ConfusionTally") -> None:
        """Add the images of another process."""
        self.confusion += other.confusion


def semantic_results(confusion: np.ndarray, names: Sequence[str], *, official: bool) -> dict[str, float]:
    """mIoU, fwIoU (weighted by the true pixels), mACC (mean recall), pACC (right pixels), IoU-<class> and ACC-<class>.

    Args:
        confusion: (K + 1, K + 1) of `count_confusion`, summed over images, or of `without_label`.
        official: as Detectron2, mIoU leaves out classes that are predicted but have no true pixel; otherwise their
            IoU of 0 counts.

    Returns:
        Percent; nan for what the ground truth does not define.
    """
    right, true_pixels, union = _pixels_of_classes(confusion)
    occurs = true_pixels > 0
    counted = occurs if official else union > 0
    with np.errstate(invalid="ignore"):
        iou = np.where(counted, right / union, np.nan)
        accuracy = np.where(occurs, right / true_pixels, np.nan)
        shares = true_pixels / true_pixels.sum()
        means = {
            "mIoU": iou[counted].sum() / counted.sum(),
            "fwIoU": (iou[occurs] * shares[occurs]).sum() if occurs.any() else np.nan,
            "mACC": accuracy[occurs].sum() / occurs.sum(),
            "pACC": right.sum() / true_pixels.sum(),
        }
    per_class = {f"IoU-{name}": value for name, value in zip(names, iou)}
    per_class |= {f"ACC-{name}": value for name, value in zip(names, accuracy)}
    return {name: float(100 * value) for name, value in (means | per_class).items()}


def image_quality(confusion: np.ndarray) -> float:
    """Mean IoU of the classes that an image has or is predicted to have, of its matrix (K + 1, K + 1); nan without."""
    right, _, union = _pixels_of_classes(confusion)
    there = union > 0
    return float((right[there] / union[there]).mean()) if there.any() else float("nan")


def _pixels_of_classes(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) right pixels, true pixels, and those that are true or predicted, of each class."""
    right = confusion.diagonal()[:-1].astype(float)
    true_pixels = confusion[:, :-1].sum(0).astype(float)
    return right, true_pixels, true_pixels + confusion[:-1, :-1].sum(1) - right


def has_unfounded_classes(confusion: np.ndarray) -> bool:
    """Whether a confusion matrix (K + 1, K + 1) has a class that is predicted on counted pixels without occurring.

    The two rules of mIoU then differ.
    """
    counted = confusion[:-1, :-1]
    return bool(((counted.sum(1) > 0) & (counted.sum(0) == 0)).any())

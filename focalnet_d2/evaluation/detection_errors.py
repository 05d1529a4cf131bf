"""Where detections go wrong: precision over recall, confused classes, kinds of errors, calibration, single images.

hotcoco counts; what it ignores in scoring (detections in crowds, those beyond the limit) is left out of all of it here,
also of the confusion matrix, for which hotcoco counts a detection in a crowd as a wrong one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .average_precision import ALL, AT_50
from .coco_backends import BACKENDS, accumulated
from .coco_files import Detections, GroundTruth, ImageId
from .object_sizes import SIZES

HOTCOCO = "hotcoco"
MOST_LABEL_ERRORS = 12
DEFAULT_THRESHOLD = 0.5  # where no detection is right, so that none is the best
_BINS = 10


class ImageOutcome(NamedTuple):
    """Right, wrong and missing objects of an image, of detections from the threshold on."""

    right: int
    wrong: int
    missed: int

    @property
    def f1(self) -> float:
        """2 right / (2 right + wrong + missed); 1 without objects and detections."""
        errors = self.wrong + self.missed
        return 2 * self.right / (2 * self.right + errors) if self.right or errors else 1.0


class OperatingPoint(NamedTuple):
    """The score from which on detections are taken, and what they then are: shares from 0 to 1."""

    threshold: float
    precision: float
    recall: float
    f1: float


class LabelError(NamedTuple):
    """A detection of a high score that suggests that the truth is wrong: of another class, or not annotated."""

    image_id: ImageId
    predicted: str
    annotated: str | None
    score: float


@dataclass(frozen=True)
class DetectionErrors:
    """What one kind of detections, boxes or masks, gets wrong; all at IoU 0.5.

    Attributes:
        class_names: K names.
        recalls: (R,) from 0 to 1; precisions: (R,) at each of them by class, and mean_precision (R,) of all classes.
        point: of the best F1 over all classes.
        confusion: (K + 1, K + 1) objects at that point: row = true, column = predicted class, last = none.
        gains: by kind of error, percent points that AP50 would gain without it; counts: how many there are.
        bins: (10, 3) mean score, share that is right, number of the detections of each tenth of the scores.
        objects_of_size: how many true objects are small, medium and large; found_of_size: those found at the point.
        images: outcome of each image.
        label_errors: the most striking ones.
    """

    class_names: list[str]
    recalls: np.ndarray
    precisions: Mapping[str, np.ndarray]
    mean_precision: np.ndarray
    point: OperatingPoint
    confusion: np.ndarray
    gains: Mapping[str, float]
    counts: Mapping[str, int]
    bins: np.ndarray
    objects_of_size: Mapping[str, int]
    found_of_size: Mapping[str, int]
    images: Mapping[ImageId, ImageOutcome]
    label_errors: list[LabelError]


def can_analyze() -> bool:
    """Whether hotcoco is installed."""
    return BACKENDS[HOTCOCO].installed


def detection_errors(truth: GroundTruth, detections: Detections, iou_type: str, *, max_dets: int) -> DetectionErrors:
    """Look at the detections of all images of the truth.

    Args:
        iou_type: "bbox" or "segm".
        max_dets: detections that count for an image and class.
    """
    evaluation = accumulated(truth, detections, iou_type, limits=[max_dets], backend=BACKENDS[HOTCOCO])
    diagnostics = evaluation.image_diagnostics(iou_thr=0.5, score_thr=DEFAULT_THRESHOLD)
    right, counts = _verdicts(diagnostics["dt_status"], len(detections))
    objects = [entry for entry in truth.objects(iou_type) if entry["id"] in diagnostics["gt_status"]]
    point = best_point(detections.scores[counts], right[counts], len(objects))
    shown = counts & (detections.scores >= point.threshold)
    found = {key for number, key in diagnostics["dt_match"].items() if shown[number - 1] and right[number - 1]}
    areas = {entry["id"]: entry["area"] for entry in truth.as_coco(iou_type)["annotations"]}
    precision = np.asarray(evaluation.eval["precision"])[AT_50, :, :, ALL, 0]  # (R, K), -1 for classes without objects
    defined = (precision > -1).all(0)  # (K,)
    tide, calibration = evaluation.tide_errors(), evaluation.calibration(n_bins=_BINS, iou_threshold=0.5)
    return DetectionErrors(
        class_names=truth.class_names,
        recalls=np.linspace(0, 1, len(precision)),
        precisions={name: precision[:, k] for k, name in enumerate(truth.class_names) if defined[k]},
        mean_precision=precision[:, defined].mean(1) if defined.any() else precision[:, 0],
        point=point,
        confusion=_confusion(truth, detections[shown], iou_type),
        gains={name: 100 * value for name, value in tide["delta_ap"].items()},
        counts=tide["counts"],
        bins=np.array([[one["avg_confidence"], one["avg_accuracy"], one["count"]] for one in calibration["bins"]]),
        objects_of_size=_by_size(areas[entry["id"]] for entry in objects),
        found_of_size=_by_size(areas[key] for key in found),
        images=_outcomes(truth, objects, detections.images[shown], right[shown]),
        label_errors=_label_errors(truth, diagnostics["label_errors"]),
    )


def best_point(scores: np.ndarray, right: np.ndarray, objects: int) -> OperatingPoint:
    """The threshold with the best F1, the highest of equal ones.

    Args:
        scores: (N,) of all detections that count; right: (N,) bool; objects: to be found.
    """
    if not right.any():
        return OperatingPoint(DEFAULT_THRESHOLD, 0.0, 0.0, 0.0)
    order = np.argsort(-scores, kind="stable")
    hits, taken = np.cumsum(right[order]), np.arange(1, len(order) + 1)
    f1 = 2 * hits / (taken + objects)
    f1[:-1][scores[order][1:] == scores[order][:-1]] = -1  # equal scores are taken together
    best = int(f1.argmax())
    return OperatingPoint(
        float(scores[order][best]), float(hits[best] / taken[best]), float(hits[best] / objects), float(f1[best])
    )


def _verdicts(status: Mapping[int, str], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether each detection is right, and whether it counts at all."""
    right, counts = np.zeros(count, bool), np.zeros(count, bool)
    for number, verdict in status.items():
        counts[number - 1], right[number - 1] = True, verdict == "tp"
    return right, counts


def _confusion(truth: GroundTruth, detections: Detections, iou_type: str) -> np.ndarray:
    evaluation = BACKENDS[HOTCOCO].evaluation(truth, detections, iou_type)
    matrix = evaluation.confusion_matrix(iou_thr=0.5, max_det=max(1, len(detections)))["matrix"]
    return np.asarray(matrix).astype(np.int64)


def _by_size(areas: Any) -> dict[str, int]:
    areas = np.array(list(areas), float)
    return {name: int(((low <= areas) & (areas < high)).sum()) for name, (low, high) in SIZES.items()}


def _outcomes(
    truth: GroundTruth, objects: list[dict[str, Any]], images: np.ndarray, right: np.ndarray
) -> dict[ImageId, ImageOutcome]:
    """Outcomes from the images (N,) of the detections that are shown."""
    size = len(truth.image_ids) + 1
    there = np.bincount([entry["image_id"] for entry in objects], minlength=size) if objects else np.zeros(size, int)
    hits, taken = (np.bincount(some, minlength=size) for some in (images[right], images))
    return {
        truth.image_ids[number - 1]: ImageOutcome(
            int(hits[number]), int(taken[number] - hits[number]), int(there[number] - hits[number])
        )
        for number in (image["id"] for image in truth.images)
    }


def _label_errors(truth: GroundTruth, found: list[dict[str, Any]]) -> list[LabelError]:
    best = sorted(found, key=lambda one: -one["dt_score"])[:MOST_LABEL_ERRORS]
    return [
        LabelError(truth.image_ids[one["image_id"] - 1], one["dt_category"], one["gt_category"], float(one["dt_score"]))
        for one in best
    ]

"""Average precision and recall of boxes and masks by COCO's rules, with the counts behind them.

The means are taken here from the precision and recall that a backend computes, in pycocotools' own order of summation:
for the same tables the numbers are equal to the last bit. Differs from pycocotools where that goes wrong: a limit of
detections other than 100 works for all numbers, below 10 too, and no predictions score 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .coco_backends import Backend, find_backend, matched_with_crowds, precision_and_recall
from .coco_files import SHAPE_KEYS, Detections, GroundTruth, read_ground_truth, read_results_of, write_json

AT_50, AT_75 = 0, 5  # places of the IoU thresholds 0.5 and 0.75
ALL, SIZES = 0, ("s", "m", "l")  # places of the sizes of objects: all, then these

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class AveragePrecision:
    """How well detections fit the annotations; shares of 1, nan where the annotations do not define a number.

    Args:
        summary: COCO's twelve numbers AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR<limit>, ARs, ARm, ARl.
        per_class, per_class_50: AP and AP50 of each class.
        counts: for each class `tp`, `fp` and `fn` at IoU 0.5, objects of all sizes, without a threshold for the scores.
    """

    summary: dict[str, float]
    per_class: dict[str, float]
    per_class_50: dict[str, float]
    counts: Counts

    def in_percent(self) -> dict[str, float]:
        """The summary and `AP-<class>`."""
        per_class = {f"AP-{name}": value for name, value in self.per_class.items()}
        return {name: value * 100 for name, value in (self.summary | per_class).items()}


def summary_names(max_dets: int) -> tuple[str, ...]:
    """Names of the twelve numbers, in their order."""
    sizes = tuple(f"AP{size}" for size in SIZES), tuple(f"AR{size}" for size in SIZES)
    return ("AP", "AP50", "AP75", *sizes[0], "AR1", "AR10", f"AR{max_dets}", *sizes[1])


def average_precision(
    truth: GroundTruth, detections: Detections, iou_type: str, *, backend: Backend, max_dets: int = 100
) -> AveragePrecision:
    """Scores detections of the images of `truth`; those of other images do not count.

    Args:
        iou_type: "bbox" or "segm".
        backend: from `find_backend`.
        max_dets: detections that count for an image and class, those with the highest scores.

    Raises:
        ValueError: no detection would count.
    """
    check_max_dets(max_dets)
    images = [image["id"] for image in truth.images]
    detections = detections[np.isin(detections.images, images)]
    limits = sorted({1, 10, max_dets})
    precision, recall = precision_and_recall(truth, detections, iou_type, limits=limits, backend=backend)
    last = limits.index(max_dets)
    names, of_class = truth.class_names, precision[:, :, :, ALL, last]  # (T, R, K)
    return AveragePrecision(
        summary=_summary(precision[..., last], recall, limits, last),
        per_class={name: _mean(of_class[:, :, index]) for index, name in enumerate(names)},
        per_class_50={name: _mean(of_class[AT_50, :, index]) for index, name in enumerate(names)},
        counts=_counts(truth, detections, iou_type, recall[AT_50, :, ALL, last], max_dets),
    )


def check_max_dets(max_dets: Any) -> None:
    """Raises ValueError if that is no number of detections of which some can count."""
    if not isinstance(max_dets, int) or isinstance(max_dets, bool) or max_dets < 1:
        raise ValueError(f"max_dets={max_dets!r} must be a whole number of at least 1.")


def score_results_file(
    annotation_file: str | Path,
    results_file: str | Path,
    iou_type: str | Sequence[str],
    backend: str = "pycocotools",
    max_dets: int = 100,
    output_dir: str | Path | None = None,
) -> dict[str, dict[str, float]]:
    """Box ("bbox") or mask ("segm") AP, or both, of a file in COCO's result format -> {iou_type: {metric: percent}}.

    Masks are scored by the masks alone: boxes beside them are left out, as they would set the sizes of objects.
    `<output_dir>/<iou_type>_counts.json` receives the counts.

    Raises:
        FileNotFoundError, ValueError: files that cannot be scored, or a backend that cannot be used.
    """
    iou_types = [iou_type] if isinstance(iou_type, str) else list(iou_type)
    if unknown := [name for name in iou_types if name not in SHAPE_KEYS]:
        raise ValueError(f"iou_type={unknown[0]!r} is unknown, choose from {', '.join(SHAPE_KEYS)}.")
    chosen = find_backend(backend)
    truth = read_ground_truth(annotation_file)
    if truth.annotations is None:
        raise ValueError(f"{annotation_file} has no annotations: results for it can only be scored by COCO's server.")
    for name in iou_types:
        truth.require(name)
    scores = {
        name: average_precision(truth, detections, name, backend=chosen, max_dets=max_dets)
        for name, detections in read_results_of(results_file, truth, iou_types).items()
    }
    if output_dir is not None:
        for name, score in scores.items():
            write_counts(output_dir, name, score.counts, max_dets)
    return {name: score.in_percent() for name, score in scores.items()}


def write_counts(folder: str | Path, iou_type: str, counts: Counts, max_dets: int) -> None:
    """Writes `<iou_type>_counts.json`: the counts of each class and how they were taken."""
    content = {"iou_threshold": 0.5, "max_dets": max_dets, "classes": counts}
    write_json(Path(folder) / f"{iou_type}_counts.json", content, indent=1)


def _summary(precision: np.ndarray, recall: np.ndarray, limits: list[int], last: int) -> dict[str, float]:
    """COCO's twelve numbers from precision (T, R, K, A) at the last limit and recall (T, K, A, D)."""
    values = {"AP": _mean(precision[..., ALL])}
    values |= {"AP50": _mean(precision[AT_50, ..., ALL]), "AP75": _mean(precision[AT_75, ..., ALL])}
    values |= {f"AP{size}": _mean(precision[..., place]) for place, size in enumerate(SIZES, 1)}
    for limit in (1, 10, limits[last]):
        values[f"AR{limit}"] = _mean(recall[:, :, ALL, limits.index(limit)])
    return values | {f"AR{size}": _mean(recall[:, :, place, last]) for place, size in enumerate(SIZES, 1)}


def _mean(values: np.ndarray) -> float:
    """Mean of the defined entries (not -1); nan if there is none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else float("nan")


def _counts(truth: GroundTruth, detections: Detections, iou_type: str, recall: np.ndarray, max_dets: int) -> Counts:
    """Counts from the final recall (K,) at IoU 0.5; equal whichever backend computed it."""
    size = len(truth.class_names)
    countable = [entry["category_id"] - 1 for entry in truth.objects(iou_type) if not entry.get("iscrowd", 0)]
    objects = np.bincount(np.array(countable, dtype=np.int64), minlength=size)
    pairs, found = np.unique(detections.images * size + detections.categories - 1, return_counts=True)
    considered = np.zeros(size, dtype=np.int64)
    np.add.at(considered, pairs % size, np.minimum(found, max_dets))
    right = np.rint(recall.clip(min=0) * objects).astype(np.int64)
    wrong = considered - right - matched_with_crowds(truth, detections, iou_type, max_dets=max_dets)
    missed = objects - right
    return {
        name: {"tp": int(right[index]), "fp": int(wrong[index]), "fn": int(missed[index])}
        for index, name in enumerate(truth.class_names)
    }

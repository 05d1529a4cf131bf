"""Packages that compute precision and recall of boxes and masks by COCO's rules.

pycocotools is the reference. The others are optional and give the same tables up to the last bit (2.2e-16) in much less
time; they are young, so none of them is the only way.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from focalnet_d2.utils.garbage_collection import paused_collection

from .coco_files import Detections, GroundTruth

AUTO = "auto"

Tables = tuple[np.ndarray, np.ndarray]  # precision (T, R, K, A, D) and recall (T, K, A, D), see `precision_and_recall`


@dataclass(frozen=True)
class Backend:
    """A package by its name in the registry and in Python, and what makes its evaluation object."""

    package: str
    module: str
    evaluation: Callable[[GroundTruth, Detections, str], Any]

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None


def _pycocotools(truth: GroundTruth, detections: Detections, iou_type: str) -> COCOeval:
    annotations = _indexed(truth.as_coco(iou_type))
    results = detections.as_results(iou_type)
    found = annotations.loadRes(results) if results else _indexed(truth.as_coco(iou_type) | {"annotations": []})
    return COCOeval(annotations, found, iou_type)


def _indexed(dataset: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _faster_coco_eval(truth: GroundTruth, detections: Detections, iou_type: str) -> Any:
    from faster_coco_eval import COCO, COCOeval_faster  # an optional extra

    annotations = COCO(truth.as_coco(iou_type))
    return COCOeval_faster(annotations, annotations.loadRes(detections.as_results(iou_type)), iou_type)


def _hotcoco(truth: GroundTruth, detections: Detections, iou_type: str) -> Any:
    from hotcoco import COCO, COCOeval  # an optional extra

    annotations = COCO(truth.as_coco(iou_type))
    if iou_type == "bbox":
        columns = (detections.images, *detections.boxes.T, detections.scores, detections.categories)
        results = np.stack(columns, axis=1).astype(np.float64)  # (N, 7); reading dicts takes longer than scoring
    else:
        results = detections.as_results(iou_type)
    return COCOeval(annotations, annotations.loadRes(results), iou_type)


REFERENCE = Backend("pycocotools", "pycocotools", _pycocotools)
BACKENDS = {  # the fastest first
    backend.package: backend
    for backend in (
        Backend("hotcoco", "hotcoco", _hotcoco),
        Backend("faster-coco-eval", "faster_coco_eval", _faster_coco_eval),
        REFERENCE,
    )
}


def find_backend(name: str) -> Backend:
    """The backend of this name, or the fastest one that is installed for "auto".

    Raises:
        ValueError: no such backend, or not installed.
    """
    if name == AUTO:
        return next(backend for backend in BACKENDS.values() if backend.installed)
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r} is unknown, choose from {', '.join((AUTO, *BACKENDS))}.")
    if not BACKENDS[name].installed:
        raise ValueError(f"backend={name!r} is not installed: pip install {name}, or choose backend='pycocotools'.")
    return BACKENDS[name]


def precision_and_recall(
    truth: GroundTruth, detections: Detections, iou_type: str, *, limits: list[int], backend: Backend
) -> Tables:
    """Precision (T, R, K, A, D) and final recall (T, K, A, D); -1 where a class has no objects of that size.

    T are the IoU thresholds 0.5 to 0.95, R recalls 0 to 1, K the classes of `truth`, A all, small, medium and large
    objects, D the `limits` of detections for an image and class, which must rise.
    """
    evaluation = accumulated(truth, detections, iou_type, limits=limits, backend=backend)
    return evaluation.eval["precision"], evaluation.eval["recall"]


@paused_collection()
def accumulated(
    truth: GroundTruth, detections: Detections, iou_type: str, *, limits: list[int], backend: Backend
) -> Any:
    """The evaluation object of a backend that has matched and summed up; arguments as of `precision_and_recall`."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = backend.evaluation(truth, detections, iou_type)
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def matched_with_crowds(truth: GroundTruth, detections: Detections, iou_type: str, *, max_dets: int) -> np.ndarray:
    """(K,) detections of each class that count neither as right nor as wrong because a crowd covers half of them.

    Only the reference says which these are, so it matches the few images that have crowds at IoU 0.5.
    """
    size = len(truth.class_names)
    ignored = np.zeros(size, dtype=np.int64)
    crowds = [entry for entry in truth.objects(iou_type) if entry.get("iscrowd", 0)]
    if not crowds:
        return ignored
    pairs = [entry["image_id"] * size + entry["category_id"] for entry in crowds]
    beside = detections[np.isin(detections.images * size + detections.categories, pairs)]
    crowded = truth.restricted_to({truth.image_ids[entry["image_id"] - 1] for entry in crowds})
    categories = [entry["category_id"] for entry in crowds]
    for match in _matched_at_50(crowded, beside, iou_type, categories, max_dets):
        ignored[match["category_id"] - 1] += match["dtIgnore"].sum()
    return ignored


class ClassMatches(NamedTuple):
    """The detections of one class that are right or wrong at IoU 0.5, and how many objects there are to find.

    Attributes:
        scores: (N,) highest first; right: (N,) bool; objects: without crowds.
    """

    scores: np.ndarray
    right: np.ndarray
    objects: int


def class_matches(truth: GroundTruth, detections: Detections, iou_type: str, *, max_dets: int) -> list[ClassMatches]:
    """What the detections of each class of `truth` are, by the reference; those that a crowd covers are left out."""
    images = [image["id"] for image in truth.images]
    detections = detections[np.isin(detections.images, images)]
    categories = range(1, len(truth.class_names) + 1)
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {number: [] for number in categories}
    objects = dict.fromkeys(categories, 0)
    for match in _matched_at_50(truth, detections, iou_type, list(categories), max_dets):
        counts = ~np.asarray(match["dtIgnore"], bool)[0]
        scores, right = np.asarray(match["dtScores"], float), np.asarray(match["dtMatches"])[0] > 0
        found[match["category_id"]].append((scores[counts], right[counts]))
        objects[match["category_id"]] += int((np.asarray(match["gtIgnore"]) == 0).sum())
    return [_joined(found[number], objects[number]) for number in categories]


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], objects: int) -> ClassMatches:
    scores = np.concatenate([np.zeros(0), *(scores for scores, _ in parts)])
    right = np.concatenate([np.zeros(0, bool), *(right for _, right in parts)])
    order = np.argsort(-scores, kind="stable")
    return ClassMatches(scores[order], right[order], objects)


def _matched_at_50(
    truth: GroundTruth, detections: Detections, iou_type: str, categories: list[int], max_dets: int
) -> list[Any]:
    """What pycocotools says about each image and class at IoU 0.5, for objects of all sizes."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _pycocotools(truth, detections, iou_type)
        parameters = evaluation.params
        parameters.catIds = categories
        parameters.iouThrs, parameters.maxDets = parameters.iouThrs[:1], [max_dets]
        parameters.areaRng, parameters.areaRngLbl = parameters.areaRng[:1], parameters.areaRngLbl[:1]
        evaluation.evaluate()
    return [match for match in evaluation.evalImgs if match is not None]

"""Box and mask AP against the numbers of pycocotools, by every installed backend, from files and from tensors."""

import json
import os
from pathlib import Path

import numpy as np
import pycocotools.mask
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from focalnet_d2.evaluation.average_precision import average_precision, score_results_file
from focalnet_d2.evaluation.coco_backends import BACKENDS, find_backend
from focalnet_d2.evaluation.coco_files import read_ground_truth, read_results
from focalnet_d2.evaluation.detection import DetectionEvaluator
from focalnet_d2.structures.packed_masks import PackedMasks
from tests.evaluation.coco_sets import STATS, official, official_counts
from tests.golden.cases import golden_file, read_json

TOLERANCE = 1e-12
PUBLISHED = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "coco_eval_100"

each_backend = pytest.mark.parametrize(
    "backend",
    [
        pytest.param(name, marks=pytest.mark.skipif(not backend.installed, reason=f"{name} is not installed"))
        for name, backend in BACKENDS.items()
    ],
)
each_type = pytest.mark.parametrize("iou_type", ["bbox", "segm"])


@pytest.fixture(scope="module")
def golden() -> dict:
    return read_json("evaluators", "golden.json")


def assert_equal(numbers: dict, expected: dict, tolerance: float) -> None:
    """Each expected number, where None says that it is not defined."""
    for name, value in expected.items():
        wanted = float("nan") if value is None else value
        assert numbers[name] == pytest.approx(wanted, rel=0, abs=tolerance, nan_ok=True), name


@each_backend
@each_type
def test_scores_of_the_files(golden, backend, iou_type):
    truth = read_ground_truth(golden_file("evaluators", "instances_gt.json"))
    detections = read_results(golden_file("evaluators", "detections.json"), truth, iou_type)
    scores = average_precision(truth, detections, iou_type, backend=find_backend(backend))
    assert_equal(scores.summary, golden[iou_type]["stats"], TOLERANCE)
    assert_equal(scores.per_class, golden[iou_type]["per_class_AP"], TOLERANCE)
    assert_equal(scores.per_class_50, golden[iou_type]["per_class_AP50"], TOLERANCE)
    assert scores.per_class.keys() == golden[iou_type]["per_class_AP"].keys()


@each_backend
@each_type
def test_counts_of_the_files(backend, iou_type):
    truth, results = read_json("evaluators", "instances_gt.json"), read_json("evaluators", "detections.json")
    names = {category["id"]: category["name"] for category in truth["categories"]}
    expected = {names[key]: count for key, count in official_counts(official(truth, results, iou_type)).items()}
    annotations = read_ground_truth(golden_file("evaluators", "instances_gt.json"))
    detections = read_results(golden_file("evaluators", "detections.json"), annotations, iou_type)
    assert average_precision(annotations, detections, iou_type, backend=find_backend(backend)).counts == expected


def as_instances(results: list[dict], classes: dict[int, int], size: tuple[int, int], *, packed: bool) -> Instances:
    """What a model would return for one image."""
    boxes = torch.tensor([result["bbox"] for result in results], dtype=torch.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [pycocotools.mask.decode(result["segmentation"]).astype(bool) for result in results]
    masks = torch.from_numpy(np.array(masks, dtype=bool).reshape(-1, *size))
    return Instances(
        size,
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([result["score"] for result in results], dtype=torch.float64),
        pred_classes=torch.tensor([classes[result["category_id"]] for result in results], dtype=torch.int64),
        pred_masks=PackedMasks.pack(masks) if packed else masks,
    )


@each_backend
@pytest.mark.parametrize("packed", [False, True], ids=["tensor", "packed"])
def test_scores_through_the_evaluator(golden, backend, packed, tmp_path):
    truth, results = read_json("evaluators", "instances_gt.json"), read_json("evaluators", "detections.json")
    classes = {category["id"]: index for index, category in enumerate(truth["categories"])}
    name = "golden_average_precision"
    MetadataCatalog.get(name).set(
        json_file=str(golden_file("evaluators", "instances_gt.json")), thing_dataset_id_to_contiguous_id=classes
    )
    try:
        evaluator = DetectionEvaluator(name, tasks=("bbox", "segm"), output_dir=tmp_path, backend=backend)
        for image in truth["images"]:
            of_image = [result for result in results if result["image_id"] == image["id"]]
            size = (image["height"], image["width"])
            outputs = [{"instances": as_instances(of_image, classes, size, packed=packed)}]
            evaluator.process([{"image_id": image["id"]}], outputs)
        scores = evaluator.evaluate()
    finally:
        MetadataCatalog.remove(name)
    for task in ("bbox", "segm"):
        percent = {key: None if value is None else 100 * value for key, value in golden[task]["stats"].items()}
        assert_equal(scores[task], percent, 100 * TOLERANCE)
        classes_of_file = {f"AP-{key}": value and 100 * value for key, value in golden[task]["per_class_AP"].items()}
        assert_equal(scores[task], classes_of_file, 100 * TOLERANCE)
        assert json.loads((tmp_path / f"{task}_counts.json").read_text())["classes"] == evaluator.counts[task]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="$DETECTRON2_DATASETS/coco_eval_100 is not there")
@each_backend
@each_type
def test_numbers_published_with_the_coco_api(backend, iou_type):
    published = json.loads((PUBLISHED / "published.json").read_text())[iou_type]
    results = PUBLISHED / f"instances_val2014_fake{iou_type}100_results.json"
    scores = score_results_file(PUBLISHED / "instances_val2014_100.json", results, iou_type, backend=backend)
    assert [round(scores[iou_type][name] / 100, 3) for name in STATS] == published

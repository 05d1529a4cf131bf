"""Box AP against hand-made cases and the official tool."""

import json
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from focalnet_d2.evaluation.detection import SUBMISSION, DetectionEvaluator

IDS = {40: "owl", 7: "fox", 12: "hen"}  # class 0 is 7, class 1 is 12, class 2 is 40
OBJECTS = {100: [(7, [0, 0, 20, 20]), (12, [40, 40, 50, 50])], 205: [(7, [10, 10, 100, 120])], 9: []}


def write_truth(path, objects=OBJECTS, ids=IDS, with_annotations=True):
    annotations = [
        {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for image, entries in objects.items()
        for category, box in entries
    ]
    content = {
        "info": {},
        "images": [{"id": image, "height": 200, "width": 200, "file_name": f"{image}.jpg"} for image in objects],
        "categories": [{"id": key, "name": name} for key, name in ids.items()],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
    }
    if not with_annotations:
        del content["annotations"]
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def dataset(tmp_path):
    """Makes a registered name for a truth file."""
    names = []

    def register(**options):
        name = f"detection_test_{len(names)}"
        path = write_truth(tmp_path / f"{name}.json", **options)
        MetadataCatalog.get(name).json_file = str(path)
        names.append(name)
        return name

    yield register
    for name in names:
        MetadataCatalog.remove(name)
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)


def prediction(boxes=(), classes=(), scores=None):
    """Detections with XYWH boxes."""
    boxes = torch.tensor(list(boxes), dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = torch.linspace(0.9, 0.5, len(boxes)) if scores is None else torch.tensor(scores)
    return {
        "instances": Instances(
            (200, 200),
            pred_boxes=Boxes(boxes),
            scores=scores,
            pred_classes=torch.tensor(list(classes), dtype=torch.int64),
        )
    }


def score(evaluator, predictions):
    evaluator.reset()
    for image, output in predictions.items():
        evaluator.process([{"image_id": image}], [output])
    return evaluator.evaluate()


PERFECT = {
    100: prediction([[0, 0, 20, 20], [40, 40, 50, 50]], [0, 1]),
    205: prediction([[10, 10, 100, 120]], [0]),
    9: prediction(),
}


def test_perfect_predictions_score_100_whatever_the_category_ids(dataset, tmp_path):
    results = score(DetectionEvaluator(dataset(), output_dir=tmp_path), PERFECT)["bbox"]
    for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR10", "AR100", "AP-fox", "AP-hen"):
        assert results[name] == pytest.approx(100), name
    assert results["AR1"] == pytest.approx(100)
    assert math.isnan(results["AP-owl"])
    assert all(type(value) is float for value in results.values())
    written = json.loads((tmp_path / SUBMISSION).read_text())
    assert {(entry["image_id"], entry["category_id"]) for entry in written} == {(100, 7), (100, 12), (205, 7)}


def test_order_of_ids_is_that_of_the_registered_mapping(dataset):
    name = dataset()
    MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id = {40: 0, 7: 1, 12: 2}
    shifted = {
        100: prediction([[0, 0, 20, 20], [40, 40, 50, 50]], [1, 2]),
        205: prediction([[10, 10, 100, 120]], [1]),
    }
    assert score(DetectionEvaluator(name), shifted)["bbox"]["AP"] == pytest.approx(100)


@pytest.mark.parametrize("predictions", [{}, {100: prediction(), 205: prediction(), 9: prediction()}])
def test_no_predictions_score_zero(dataset, predictions):
    results = score(DetectionEvaluator(dataset()), predictions)["bbox"]
    for name in ("AP", "AP50", "APs", "APm", "APl", "AR100", "AP-fox", "AP-hen"):
        assert results[name] == 0.0, name


def test_an_image_that_was_not_processed_counts_unless_told_otherwise(dataset):
    part = {205: PERFECT[205]}
    assert score(DetectionEvaluator(dataset()), part)["bbox"]["AP"] < 60
    assert score(DetectionEvaluator(dataset(), only_seen_images=True), part)["bbox"]["AP"] == pytest.approx(100)
    assert score(DetectionEvaluator(dataset(), only_seen_images=True), {9: prediction()})["bbox"].keys()


def test_limit_of_detections(dataset):
    truth = {5: [(7, [10 * i, 0, 9, 9]) for i in range(20)]}
    found = {5: prediction([[10 * i, 0, 9, 9] for i in range(20)], [0] * 20)}
    name = dataset(objects=truth, ids={7: "fox"})
    assert score(DetectionEvaluator(name, max_dets=20), found)["bbox"]["AR20"] == pytest.approx(100)
    limited = score(DetectionEvaluator(name, max_dets=15), found)["bbox"]
    assert limited["AR15"] == pytest.approx(75)
    assert limited["AP"] == pytest.approx(100 * 76 / 101)
    assert score(DetectionEvaluator(name, max_dets=300), found)["bbox"]["AP"] == pytest.approx(100)


def test_predictions_that_cannot_belong_to_the_data_set(dataset):
    with pytest.raises(ValueError, match=r"class 3.*3 classes.*num_classes"):
        score(DetectionEvaluator(dataset()), {100: prediction([[0, 0, 5, 5]], [3])})
    with pytest.raises(ValueError, match="image 77"):
        score(DetectionEvaluator(dataset()), {77: prediction([[0, 0, 5, 5]], [0])})


def test_data_without_annotations_is_written_and_not_scored(dataset, tmp_path):
    evaluator = DetectionEvaluator(dataset(with_annotations=False), output_dir=tmp_path)
    assert score(evaluator, PERFECT) == {}
    assert len(json.loads((tmp_path / SUBMISSION).read_text())) == 3


def test_several_data_sets_are_refused(dataset):
    name = dataset()
    assert DetectionEvaluator([name]).dataset_name == name
    with pytest.raises(ValueError, match="one by one"):
        DetectionEvaluator([name, name])


def test_random_predictions_score_as_with_the_official_tool(dataset, tmp_path):
    random = np.random.RandomState(3)

    def boxes(count):
        corners = random.randint(0, 120, (count, 2))
        return np.concatenate([corners, random.randint(5, 80, (count, 2))], 1).tolist()

    ids = {5: "a", 2: "b", 90: "c"}
    truth = {image: [(int(random.choice([2, 5])), box) for box in boxes(4)] for image in range(1, 9)}
    name = dataset(objects=truth, ids=ids)
    predictions, results = {}, []
    for image, entries in truth.items():
        noisy = [(np.array(box) + random.randint(-4, 5, 4)).tolist() for _, box in entries] + boxes(3)
        classes = random.randint(0, 3, len(noisy)).tolist()
        scores = random.choice([0.2, 0.5, 0.7], len(noisy)).tolist()
        predictions[image] = prediction(noisy, classes, scores)
        found = predictions[image]["instances"]
        results += [
            {"image_id": image, "category_id": [2, 5, 90][c], "bbox": box, "score": s}
            for c, box, s in zip(classes, [[float(v) for v in box] for box in noisy], found.scores.tolist())
        ]
    official_truth = COCO(MetadataCatalog.get(name).json_file)
    official = COCOeval(official_truth, official_truth.loadRes(results), "bbox")
    official.evaluate(), official.accumulate(), official.summarize()
    ours = score(DetectionEvaluator(name), predictions)["bbox"]
    keys = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    assert 0 < ours["AP"] < 100
    for key, value in zip(keys, official.stats):
        expected = value * 100 if value > -1 else math.nan
        assert ours[key] == pytest.approx(expected, abs=1e-10, nan_ok=True), key

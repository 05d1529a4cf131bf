"""The evaluator of boxes and masks: hand-made cases, wrong predictions, panoptic models, several ranks."""

import json
import math

import numpy as np
import pycocotools.mask
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from detectron2.utils import comm

from focalnet_d2.evaluation import detection
from focalnet_d2.evaluation.average_precision import score_results_file
from focalnet_d2.evaluation.coco_backends import BACKENDS
from focalnet_d2.evaluation.detection import SUBMISSION, DetectionEvaluator
from focalnet_d2.structures.packed_masks import PackedMasks

IDS = {40: "owl", 7: "fox", 12: "hen"}  # class 0 is 7, class 1 is 12, class 2 is 40
OBJECTS = {100: [(7, [0, 0, 20, 20]), (12, [40, 40, 50, 50])], 205: [(7, [10, 10, 100, 120])], 9: []}


def write_truth(path, objects=OBJECTS, ids=IDS, with_annotations=True):
    annotations = [
        {
            "image_id": image,
            "category_id": category,
            "bbox": [x, y, width, height],
            "area": width * height,
            "iscrowd": 0,
            "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        }
        for image, entries in objects.items()
        for category, (x, y, width, height) in entries
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
    """Detections with XYWH boxes, and masks that fill them."""
    boxes = torch.tensor(list(boxes), dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = torch.linspace(0.9, 0.5, len(boxes)) if scores is None else torch.tensor(scores)
    masks = torch.zeros(len(boxes), 200, 200, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
        mask[top:bottom, left:right] = True
    return {
        "instances": Instances(
            (200, 200),
            pred_boxes=Boxes(boxes),
            scores=scores,
            pred_classes=torch.tensor(list(classes), dtype=torch.int64),
            pred_masks=masks,
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


def masks_in_a_file(evaluator, path, masks):
    """Run lengths that an evaluator writes for masks of the image 100."""
    output = prediction([[0, 0, 20, 20]] * len(masks), [0] * len(masks))
    output["instances"].pred_masks = masks
    score(evaluator, {100: output})
    return [entry["segmentation"] for entry in json.loads((path / SUBMISSION).read_text())]


def test_masks_are_those_of_pycocotools_in_any_form_and_without_a_compiler(dataset, tmp_path, monkeypatch):
    masks = torch.rand(37, 200, 200) < 0.3
    official = [pycocotools.mask.encode(np.asfortranarray(mask.numpy(), np.uint8)) for mask in masks]
    expected = [{"size": [200, 200], "counts": one["counts"].decode()} for one in official]
    evaluator = DetectionEvaluator(dataset(), tasks=["segm"], output_dir=tmp_path)
    for form in (masks, PackedMasks.pack(masks), BitMasks(masks), masks.to(torch.uint8)):
        assert masks_in_a_file(evaluator, tmp_path, form) == expected
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    assert masks_in_a_file(evaluator, tmp_path, masks) == expected


def test_a_long_list_of_predictions_is_written_in_parts(dataset, tmp_path, monkeypatch):
    evaluator = DetectionEvaluator(dataset(), tasks=["bbox", "segm"], output_dir=tmp_path)
    score(evaluator, PERFECT)
    whole = (tmp_path / SUBMISSION).read_bytes()
    assert whole == json.dumps(json.loads(whole)).encode()
    monkeypatch.setattr(detection, "_RESULTS_AT_ONCE", 2)
    score(evaluator, PERFECT)
    assert (tmp_path / SUBMISSION).read_bytes() == whole
    score(evaluator, {9: prediction()})
    assert (tmp_path / SUBMISSION).read_bytes() == b"[]"


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


def test_a_limit_that_no_detection_passes_is_refused_before_anything_is_predicted(dataset):
    with pytest.raises(ValueError, match="max_dets=0 must be"):
        DetectionEvaluator(dataset(), max_dets=0)


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


def altered(predictions, change):
    """Predictions with `change(instances)` in place of their instances."""
    return {image: {"instances": change(output["instances"])} for image, output in predictions.items()}


def test_masks_and_boxes_together(dataset, tmp_path):
    name = dataset()
    evaluator = DetectionEvaluator(name, tasks=["bbox", "segm"], output_dir=tmp_path)
    results = score(evaluator, PERFECT)
    assert list(results) == ["bbox", "segm"]
    for numbers in results.values():
        assert [numbers[key] for key in ("AP", "AR100", "AP-hen")] == pytest.approx([100] * 3)
    assert evaluator.counts["segm"]["fox"] == {"tp": 2, "fp": 0, "fn": 0}
    written = json.loads((tmp_path / SUBMISSION).read_text())
    assert [set(entry) for entry in written] == [{"image_id", "category_id", "score", "bbox", "segmentation"}] * 3
    assert {path.name for path in tmp_path.iterdir()} >= {"bbox_counts.json", "segm_counts.json"}
    for task in ("bbox", "segm"):
        again = score_results_file(MetadataCatalog.get(name).json_file, tmp_path / SUBMISSION, task)
        assert str(again[task]) == str(results[task])


def test_masks_decide_in_the_task_segm(dataset):
    """The same boxes with masks that cover their upper half: IoU 0.5 is a match at the lowest threshold only."""

    def halve(instances):
        halved = instances[:]
        halved.pred_masks = instances.pred_masks.clone()
        for mask in halved.pred_masks:
            rows = mask.any(dim=1).nonzero()
            mask[rows[len(rows) // 2 :].flatten()] = False
        return halved

    results = score(DetectionEvaluator(dataset(), tasks=("bbox", "segm")), altered(PERFECT, halve))
    assert results["bbox"]["AP"] == pytest.approx(100)
    assert results["segm"]["AP50"] == pytest.approx(100)
    assert results["segm"]["AP75"] == 0


def test_masks_alone_need_no_boxes_and_boxes_no_masks(dataset):
    def without(field):
        def removed(instances):
            fields = {key: value for key, value in instances.get_fields().items() if key != field}
            return Instances(instances.image_size, **fields)

        return altered(PERFECT, removed)

    assert score(DetectionEvaluator(dataset(), tasks=("segm",)), without("pred_boxes"))["segm"]["AP"] > 99
    assert score(DetectionEvaluator(dataset()), without("pred_masks"))["bbox"]["AP"] > 99
    with pytest.raises(ValueError, match="no pred_masks"):
        score(DetectionEvaluator(dataset(), tasks=("segm",)), without("pred_masks"))


def test_masks_of_the_network_s_size_are_refused(dataset):
    def shrink(instances):
        instances = instances[:]
        instances.pred_masks = instances.pred_masks[:, ::2, ::2]
        return instances

    with pytest.raises(ValueError, match=r"image 100 has height and width \(100, 100\), .*\(200, 200\)"):
        score(DetectionEvaluator(dataset(), tasks=("segm",)), altered(PERFECT, shrink))


def panoptic_dataset(dataset):
    """Classes 0 and 4 of a panoptic model are things 12 and 7, class 2 is 40; image ids are strings, as in ADE20K."""
    objects = {f"ADE_val_{image:08d}": entries for image, entries in OBJECTS.items()}
    name = dataset(objects=objects)
    MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id = {12: 0, 40: 2, 7: 4}
    found = {
        "ADE_val_00000100": prediction([[0, 0, 9, 9], [0, 0, 20, 20], [40, 40, 50, 50]], [3, 4, 0], [0.99, 0.9, 0.8]),
        "ADE_val_00000205": prediction([[10, 10, 100, 120], [0, 0, 200, 200]], [4, 149]),
        "ADE_val_00000009": prediction([[0, 0, 200, 200]], [1]),
    }
    return name, found


@pytest.mark.parametrize("masks", [torch.Tensor.clone, PackedMasks.pack], ids=["tensor", "packed"])
def test_a_panoptic_model_is_scored_by_its_things(dataset, tmp_path, masks):
    name, found = panoptic_dataset(dataset)
    for output in found.values():
        output["instances"].pred_masks = masks(output["instances"].pred_masks)
    evaluator = DetectionEvaluator(name, tasks=("bbox", "segm"), things_only=True, output_dir=tmp_path)
    results = score(evaluator, found)
    assert [results[task]["AP"] for task in ("bbox", "segm")] == pytest.approx([100, 100])
    assert evaluator.counts["segm"] == {
        "fox": {"tp": 2, "fp": 0, "fn": 0},
        "hen": {"tp": 1, "fp": 0, "fn": 0},
        "owl": {"tp": 0, "fp": 0, "fn": 0},
    }
    written = json.loads((tmp_path / SUBMISSION).read_text())
    assert {entry["image_id"] for entry in written} == {"ADE_val_00000100", "ADE_val_00000205"}


def test_stuff_is_an_error_unless_things_are_asked_for(dataset):
    name, found = panoptic_dataset(dataset)
    with pytest.raises(ValueError, match=r"class 3.*3 classes.*things_only"):
        score(DetectionEvaluator(name), found)


def test_annotations_of_another_data_set_are_refused(dataset):
    name = dataset()
    MetadataCatalog.get(name).thing_dataset_id_to_contiguous_id = {7: 0, 99: 1}
    with pytest.raises(ValueError, match=r"category 99, which .*json lacks"):
        DetectionEvaluator(name)


def test_a_model_without_instances_is_named(dataset):
    with pytest.raises(ValueError, match="no 'instances'"):
        DetectionEvaluator(dataset()).process([{"image_id": 9}], [{"sem_seg": torch.zeros(3, 200, 200)}])


def test_settings_that_cannot_work_are_refused(dataset, monkeypatch):
    name = dataset()
    for tasks in ([], ["bbox", "keypoints"]):
        with pytest.raises(ValueError, match="one or both of bbox, segm"):
            DetectionEvaluator(name, tasks=tasks)
    with pytest.raises(ValueError, match="backend='cocoapi'"):
        DetectionEvaluator(name, backend="cocoapi")


@pytest.mark.parametrize("backend", [name for name, backend in BACKENDS.items() if backend.installed])
def test_shards_of_ranks_are_merged_and_each_image_counts_once(dataset, monkeypatch, tmp_path, backend):
    """Three ranks: the last has no image of its own, so its sampler has repeated one of the first's."""
    name = dataset()
    shifted = prediction([[60, 0, 20, 20], [0, 60, 50, 50]], [0, 1])
    noisy = PERFECT | {100: prediction([[0, 0, 20, 20], [40, 40, 50, 50], [1, 1, 20, 20]], [0, 1, 0])}
    shards = [{100: noisy[100], 205: noisy[205]}, {9: noisy[9]}, {100: shifted}]
    ranks = [DetectionEvaluator(name, tasks=("bbox", "segm"), backend=backend) for _ in shards]
    for evaluator, shard in zip(ranks, shards):
        for image, output in shard.items():
            evaluator.process([{"image_id": image}], [output])
    parts = [evaluator._predictions for evaluator in ranks]
    monkeypatch.setattr(comm, "gather", lambda data, dst: parts)
    merged = ranks[0].evaluate()
    assert ranks[0].counts["bbox"]["fox"] == {"tp": 2, "fp": 1, "fn": 0}
    monkeypatch.setattr(comm, "gather", lambda data, dst: [data])
    alone = score(DetectionEvaluator(name, tasks=("bbox", "segm"), output_dir=tmp_path, backend=backend), noisy)
    assert str(merged) == str(alone)
    assert len(json.loads((tmp_path / SUBMISSION).read_text())) == 4
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert ranks[1].evaluate() == {}


def test_a_second_evaluation_starts_anew(dataset):
    evaluator = DetectionEvaluator(dataset())
    assert score(evaluator, PERFECT)["bbox"]["AP"] == pytest.approx(100)
    assert score(evaluator, {})["bbox"]["AP"] == 0


def test_a_data_set_without_a_json_file_is_converted(tmp_path):
    name = "detection_test_dicts"
    record = {"file_name": "a.jpg", "image_id": 5, "height": 200, "width": 200}
    box = {"bbox": [10, 10, 60, 60], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
    DatasetCatalog.register(name, lambda: [record | {"annotations": [box]}])
    MetadataCatalog.get(name).thing_classes = ["fox"]
    try:
        with pytest.raises(ValueError, match="output_dir"):
            DetectionEvaluator(name)
        results = score(DetectionEvaluator(name, output_dir=tmp_path), {5: prediction([[10, 10, 60, 60]], [0])})
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    assert results["bbox"]["AP-fox"] == pytest.approx(100)

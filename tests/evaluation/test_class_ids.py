"""Ids of classes from a folder to prediction files and back: whatever they are, files have them as they were given."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from panopticapi.evaluation import pq_compute_single_core
from panopticapi.utils import id2rgb
from PIL import Image
from pycocotools import mask as mask_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from focalnet_d2.data.catalog import load_dataset
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.class_map import ClassMap, class_map
from focalnet_d2.data.datasets import register_coco_folder
from focalnet_d2.data.datasets.folders import register_dataset
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.evaluation.average_precision import average_precision
from focalnet_d2.evaluation.classification import ClassificationEvaluator
from focalnet_d2.evaluation.coco_backends import find_backend
from focalnet_d2.evaluation.coco_files import read_ground_truth, read_results
from focalnet_d2.evaluation.detection import DetectionEvaluator
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.evaluation.panoptic_counts import panoptic_results
from focalnet_d2.evaluation.panoptic_files import index_predicted_files, read_classes_and_files, score_panoptic_files
from focalnet_d2.evaluation.semantic import SemanticEvaluator
from tests.data.class_lists import NAMES, class_maps

HEIGHT, SIDE = 12, 10  # every class has a square of this side, one beside the other, in both images
IMAGES = ("b.png", "a.png")


def whole_numbers(classes: ClassMap) -> bool:
    return isinstance(classes.classes[0].dataset_id, int)


def write_images(folder: Path, classes: ClassMap) -> int:
    """Fresh folder of images; returns their width."""
    shutil.rmtree(folder, ignore_errors=True)
    width = SIDE * len(classes)
    for name in IMAGES:
        (folder / "val").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, HEIGHT), (90, 120, 150)).save(folder / "val" / name)
    return width


def write_instances(folder: Path, classes: ClassMap, categories: list[dict]) -> Path:
    """A COCO file with categories in any order, in which every class has an object in each image."""
    width = write_images(folder, classes)
    annotations = [
        {"image_id": image, "category_id": entry.dataset_id, "bbox": [SIDE * place, 1, SIDE, SIDE], "iscrowd": 0,
         "area": SIDE * SIDE, "segmentation": [corners(SIDE * place)]}
        for image in range(len(IMAGES)) for place, entry in enumerate(classes.classes)
    ]  # fmt: skip
    numbered = [{"id": number, **entry} for number, entry in enumerate(annotations, 1)]
    images = [{"id": i, "file_name": name, "height": HEIGHT, "width": width} for i, name in enumerate(IMAGES)]
    path = folder / "annotations" / "instances_val.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"images": images, "categories": categories, "annotations": numbered}))
    return path


def corners(left: int) -> list[int]:
    return [left, 1, left + SIDE, 1, left + SIDE, 1 + SIDE, left, 1 + SIDE]


def categories_of(classes: ClassMap) -> list[dict]:
    return [{"id": one.dataset_id, "name": one.name, "isthing": int(one.is_thing)} for one in classes.classes]


def registered(folder: Path, changes: ClassChanges = ClassChanges()) -> tuple[str, ClassMap]:  # noqa: B008  frozen
    """The name of the validation part of a folder, and its class list."""
    (found,) = find_datasets(folder)
    return register_dataset(found, changes)["val"], found.classes


def perfect_instances(record: dict) -> dict:
    """What a model without faults gives for an image."""
    instances = Instances((record["height"], record["width"]))
    objects = record["annotations"]
    boxes = torch.tensor([entry["bbox"] for entry in objects], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    instances.pred_boxes, instances.scores = Boxes(boxes), torch.linspace(0.9, 0.5, len(objects))
    instances.pred_classes = torch.tensor([entry["category_id"] for entry in objects])
    size = instances.image_size
    encoded = [mask_codec.merge(mask_codec.frPyObjects(entry["segmentation"], *size)) for entry in objects]
    instances.pred_masks = torch.from_numpy(np.stack([mask_codec.decode(mask) for mask in encoded])).bool()
    return {"instances": instances}


def official_ap(truth: Path, results: Path, task: str) -> float:
    truth = COCO(str(truth))
    evaluation = COCOeval(truth, truth.loadRes(str(results)), task)
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        step()
    return evaluation.stats[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ids")


@settings(max_examples=15)
@given(classes=class_maps(), random=st.randoms(use_true_random=False))
def test_instances(folder, classes, random):
    categories = [{"id": one.dataset_id, "name": one.name} for one in classes.classes]
    random.shuffle(categories)
    truth = write_instances(folder / "data", classes, categories)
    by_hand = register_coco_folder("ids_val", truth, truth.parents[1] / "val")
    for name in (by_hand, registered(folder / "data")[0]):
        evaluator = DetectionEvaluator(name, tasks=("bbox", "segm"), output_dir=folder / "out")
        records = load_dataset(name)
        evaluator.process(records, [perfect_instances(record) for record in records])
        numbers = evaluator.evaluate()
        for task in ("bbox", "segm"):
            assert {f"AP-{one.name}": numbers[task][f"AP-{one.name}"] for one in classes.classes} == {
                f"AP-{one.name}": pytest.approx(100) for one in classes.classes
            }
        results = json.loads((folder / "out" / "coco_instances_results.json").read_text())
        written = {(entry["image_id"], entry["category_id"], tuple(entry["bbox"])) for entry in results}
        assert written == {
            (image, one.dataset_id, (SIDE * place, 1, SIDE, SIDE))
            for image in range(len(IMAGES)) for place, one in enumerate(classes.classes)
        }  # fmt: skip
        check_scored_again(truth, folder / "out" / "coco_instances_results.json", classes)


def check_scored_again(truth: Path, results: Path, classes: ClassMap) -> None:
    """The files alone give the perfect score, with our reader and, where it takes such ids, with the official tool."""
    content = read_ground_truth(truth)
    for task in ("bbox", "segm"):
        detections, backend = read_results(results, content, task), find_backend("pycocotools")
        assert average_precision(content, detections, task, backend=backend).in_percent()["AP"] == pytest.approx(100)
        if whole_numbers(classes):
            assert official_ap(truth, results, task) == pytest.approx(1)


@settings(max_examples=30)
@given(classes=class_maps())
def test_panoptic(folder, classes):
    width = write_images(folder / "data", classes)
    ids = np.zeros((HEIGHT, width), np.int32)
    for place in range(len(classes)):
        ids[1:, SIDE * place : SIDE * (place + 1)] = 300 + place
    root = folder / "data" / "annotations"
    (root / "panoptic_val").mkdir(parents=True)
    segments = [
        {"id": 300 + place, "category_id": one.dataset_id, "iscrowd": 0, "area": SIDE * (HEIGHT - 1)}
        for place, one in enumerate(classes.classes)
    ]
    for name in IMAGES:
        Image.fromarray(id2rgb(ids)).save(root / "panoptic_val" / name)
    images = [{"id": i, "file_name": name, "height": HEIGHT, "width": width} for i, name in enumerate(IMAGES)]
    annotations = [{"image_id": i, "file_name": name, "segments_info": segments} for i, name in enumerate(IMAGES)]
    content = {"images": images, "categories": categories_of(classes), "annotations": annotations}
    (root / "panoptic_val.json").write_text(json.dumps(content))
    name, _ = registered(folder / "data")
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    evaluator = PanopticEvaluator(name, output_dir=out, write_submission=True)
    records = load_dataset(name)
    evaluator.process(records, [perfect_segments(record) for record in records])
    assert evaluator.evaluate()["panoptic_seg"]["PQ"] == pytest.approx(100)
    predicted = json.loads((out / "panoptic_predictions.json").read_text())["annotations"]
    for entry in predicted:
        assert [(one["id"], one["category_id"]) for one in entry["segments_info"]] == [
            (one["id"], one["category_id"]) for one in segments
        ]
    known, files = read_classes_and_files(root / "panoptic_val.json", root / "panoptic_val")
    assert (known.names, known.thing_ids) == (classes.names, classes.thing_ids)
    stats = score_panoptic_files(files, index_predicted_files(out / "panoptic_predictions.json"), known.contiguous)
    assert panoptic_results(stats.corrected, known)["PQ"] == pytest.approx(100)
    by_image = {entry["image_id"]: entry for entry in predicted}
    pairs = [(annotation, by_image[annotation["image_id"]]) for annotation in annotations]
    official = pq_compute_single_core(
        0, pairs, str(root / "panoptic_val"), str(out / "panoptic_predictions"),
        {one["id"]: one for one in content["categories"]},
    )  # fmt: skip
    scores, _ = official.pq_average({one["id"]: one for one in content["categories"]}, isthing=None)
    assert scores["pq"] == pytest.approx(1)


def perfect_segments(record: dict) -> dict:
    """What a panoptic model without faults gives: classes contiguous."""
    ids = torch.from_numpy(read_panoptic_ids(record["pan_seg_file_name"]))
    return {"panoptic_seg": (ids, [{k: one[k] for k in ("id", "category_id")} for one in record["segments_info"]])}


@settings(max_examples=30)
@given(data=st.data())
def test_semantic(folder, data):
    values = data.draw(st.lists(st.integers(0, 5000), unique=True, min_size=1, max_size=len(NAMES)))
    if len(values) == 1 or set(values) == {0, 255}:
        values = [3, *[value for value in values if value not in (0, 3, 255)]]  # no lists of files with 0 and 255
    classes = class_map(sorted(values), NAMES[: len(values)], things=False)
    width = write_images(folder / "data", classes)
    labels = np.repeat(np.array(list(classes.contiguous), np.uint16), SIDE)[None].repeat(HEIGHT, 0)
    (folder / "data" / "labels" / "val").mkdir(parents=True)
    (folder / "data" / "images").mkdir()
    (folder / "data" / "val").rename(folder / "data" / "images" / "val")
    for name in IMAGES:
        Image.fromarray(labels).save(folder / "data" / "labels" / "val" / name)
    rows = [f"{value} {name}" for value, name in zip(classes.contiguous, classes.names)]
    (folder / "data" / "classes.txt").write_text("\n".join(rows))
    name, found = registered(folder / "data")
    assert list(found.contiguous) == list(classes.contiguous)
    out = folder / "out"
    evaluator = SemanticEvaluator(name, output_dir=out, write_submission=True)
    truth = torch.arange(len(classes)).repeat_interleave(SIDE).expand(HEIGHT, width)
    records = load_dataset(name)
    evaluator.process(records, [{"sem_seg": truth.clone()} for _ in records])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == pytest.approx(100)
    restored = {record["file_name"]: np.zeros((HEIGHT, width), np.uint16) for record in records}
    for entry in json.loads((out / "sem_seg_predictions.json").read_text()):
        restored[entry["file_name"]][mask_codec.decode(entry["segmentation"]).astype(bool)] = entry["category_id"]
    for found in restored.values():
        assert np.array_equal(found, labels)


def test_classification(folder):
    root = folder / "classes"
    for number, name in enumerate(("10", "9", "été", "a b")):
        (root / "val" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (number, 0, 0)).save(root / "val" / name / "1.png")
    name, classes = registered(root)
    evaluator = ClassificationEvaluator(name, output_dir=folder / "out")
    records = load_dataset(name)
    evaluator.process(records, [{"scores": torch.eye(4)[record["class_id"]]} for record in records])
    assert evaluator.evaluate() == {"classification": {"top1": 100, "top5": 100}}
    written = json.loads((folder / "out" / "classification_counts.json").read_text())
    assert written["classes"] == classes.names == sorted(("10", "9", "été", "a b"))
    for record in records:
        assert Path(record["file_name"]).parent.name == classes.names[record["class_id"]]


def test_changed_classes_are_predicted_by_the_ids_of_the_changed_list(folder):
    classes = class_map([3, 1004, 20, 7], ["car", "truck", "dog", "cat"])
    write_instances(folder / "changed", classes, categories_of(classes))
    name, _ = registered(
        folder / "changed", ClassChanges(rename={"dog": "hund"}, merge={"vehicle": ["truck", "car"]}, drop=["cat"])
    )
    evaluator = DetectionEvaluator(name, output_dir=folder / "out")
    records = load_dataset(name)
    evaluator.process(records, [perfect_instances(record) for record in records])
    numbers = evaluator.evaluate()["bbox"]
    assert {key: value for key, value in numbers.items() if "-" in key} == {
        "AP-vehicle": pytest.approx(100), "AP-hund": pytest.approx(100)
    }  # fmt: skip
    results = json.loads((folder / "out" / "coco_instances_results.json").read_text())
    assert sorted(entry["category_id"] for entry in results) == [3] * 4 + [20] * 2


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat", "dog", "cat "], "(?s)'cat.* the same name|the same name: 'cat'"),
        (["cat", "", " "], "no name, those with the ids 2, 3"),
    ],
)
def test_class_lists_with_faults_end_before_anything_is_read(folder, names, message):
    rows = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    truth = write_instances(folder / "faulty", class_map([1, 2, 3], ["x", "y", "z"]), rows)
    name = register_coco_folder("faulty_val", truth, truth.parents[1] / "val")
    with pytest.raises(ValueError, match=message):
        load_dataset(name)
    with pytest.raises(ValueError, match=message):
        find_datasets(folder / "faulty")

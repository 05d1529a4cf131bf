"""The semantic evaluator: kinds of predictions and ground truths, what it writes, and Detectron2's numbers."""

import json
import logging
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from PIL import Image
from pycocotools import mask as coco_mask

from focalnet_d2.evaluation.semantic import COUNTS, SUBMISSION, SemanticEvaluator
from tests.evaluation.panoptic_sets import CATEGORY_IDS, NAMES, forget, register, sample_of, segment

NAME = "semantic_test"
TRUTHS = {
    4: (np.repeat([[1, 2, 0]], 6, axis=0), [segment(1, 0), segment(2, 1)]),
    9: (np.repeat([[9, 9, 3, 3]], 4, axis=0), [segment(9, 1), segment(3, 0, crowd=True)]),
}
PREDICTED = {4: np.repeat([[0, 2, 2]], 6, axis=0), 9: np.repeat([[1, 1, 1, 0]], 4, axis=0)}
CONFUSION = [[10, 0, 0, 0], [4, 8, 0, 0], [0, 6, 0, 6], [0, 0, 0, 0]]  # row: predicted, column: true, ignored last


@pytest.fixture
def samples(tmp_path):
    made = {image_id: sample_of(tmp_path, image_id, *truth) for image_id, truth in TRUTHS.items()}
    register(NAME, list(made.values()), tmp_path)
    yield made
    forget(NAME)


def scores(classes):
    """(3, H, W) with the highest score at the class."""
    return torch.nn.functional.one_hot(torch.from_numpy(classes), 3).permute(2, 0, 1).float() * 2 - 3


def score(evaluator, samples, make=scores, without=()):
    evaluator.reset()
    for image_id, classes in PREDICTED.items():
        sample = {key: value for key, value in samples[image_id].items() if key not in without}
        evaluator.process([sample], [{"sem_seg": make(classes)}])
    return evaluator.evaluate()


KINDS = {
    "scores": scores,
    "half precision": lambda classes: scores(classes).to(torch.bfloat16),
    "one-hot integers": lambda classes: (scores(classes) > -2).int(),
    "with a gradient": lambda classes: scores(classes).requires_grad_(),
    "classes": lambda classes: torch.from_numpy(classes),
    "an array": lambda classes: classes.astype(np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_prediction(samples, kind):
    evaluator = SemanticEvaluator(NAME)
    score(evaluator, samples, KINDS[kind])
    assert evaluator.confusion.tolist() == CONFUSION


@pytest.mark.parametrize(
    "without",
    [
        ("sem_seg_file_name",),  # made from the panoptic file
        ("pan_seg_file_name", "segments_info"),
        ("sem_seg_file_name", "segments_info"),  # looked up in the data set
        ("sem_seg_file_name", "pan_seg_file_name", "segments_info", "image_id"),
    ],
)
def test_every_kind_of_ground_truth(samples, without):
    evaluator = SemanticEvaluator(NAME)
    score(evaluator, samples, without=without)
    assert evaluator.confusion.tolist() == CONFUSION


def read_labels(path, dtype):
    """In place of Detectron2's, which numpy 2 does not run."""
    return np.asarray(Image.open(path)).astype(dtype)


@pytest.mark.filterwarnings("ignore:The 'warn' method")
def test_the_numbers_are_those_of_detectron2(samples, caplog):
    with caplog.at_level(logging.ERROR, logger="detectron2"):
        theirs = score(SemSegEvaluator(NAME, distributed=False, sem_seg_loading_fn=read_labels), samples)["sem_seg"]
    results = score(SemanticEvaluator(NAME), samples)
    ours = results["sem_seg"]
    assert set(ours) <= set(theirs)
    assert {"mIoU", "fwIoU", "mACC", "pACC", "IoU-sky", "ACC-fox"} <= set(ours)
    for name, value in ours.items():
        assert value == pytest.approx(theirs[name], rel=0, abs=1e-12, nan_ok=True), name
    assert results["sem_seg_corrected"]["mIoU"] == pytest.approx(ours["mIoU"] * 2 / 3)  # sky is predicted only


def test_one_set_of_numbers_without_such_classes_or_on_request(samples):
    perfect = {4: np.repeat([[0, 1, 1]], 6, axis=0), 9: np.repeat([[1, 1, 0, 0]], 4, axis=0)}
    evaluator = SemanticEvaluator(NAME)
    for image_id, classes in perfect.items():
        evaluator.process([samples[image_id]], [{"sem_seg": scores(classes)}])
    results = evaluator.evaluate()
    assert results.keys() == {"sem_seg"}
    assert results["sem_seg"]["mIoU"] == results["sem_seg"]["pACC"] == 100
    only = score(SemanticEvaluator(NAME, official=False), samples)
    both = score(SemanticEvaluator(NAME), samples)
    assert only.keys() == {"sem_seg"}
    assert only["sem_seg"] == pytest.approx(both["sem_seg_corrected"], nan_ok=True)


def test_files_on_request(samples, tmp_path):
    score(SemanticEvaluator(NAME, output_dir=tmp_path / "a"), samples)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [COUNTS, "sem_seg_examples.json"]
    content = json.loads((tmp_path / "a" / COUNTS).read_text())
    assert content == {"classes": list(NAMES), "confusion": CONFUSION}
    score(SemanticEvaluator(NAME, output_dir=tmp_path / "b", write_submission=True), samples)
    entries = json.loads((tmp_path / "b" / SUBMISSION).read_text())
    listed = [(entry["file_name"], entry["category_id"]) for entry in entries]
    assert listed == [
        ("images/4.jpg", CATEGORY_IDS[0]),
        ("images/4.jpg", CATEGORY_IDS[2]),
        ("images/9.jpg", CATEGORY_IDS[0]),
        ("images/9.jpg", CATEGORY_IDS[1]),
    ]
    np.testing.assert_array_equal(coco_mask.decode(entries[1]["segmentation"]), PREDICTED[4] == 2)
    with pytest.raises(ValueError, match="write_submission"):
        SemanticEvaluator(NAME, write_submission=True)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        (torch.zeros(4, 6, 3), "The prediction for images/4.jpg is torch.float32 \\(4, 6, 3\\).*scores \\(3, H, W\\)"),
        (torch.zeros(6, 3), "The prediction for images/4.jpg is torch.float32 \\(6, 3\\)"),
        (torch.zeros(3, 6, 4), "prediction for images/4.jpg is \\(6, 4\\) pixels"),
        (torch.full((6, 3), 3), "prediction for images/4.jpg has the labels 3"),
    ],
)
def test_predictions_that_cannot_be_scored_are_named(samples, output, match):
    with pytest.raises(ValueError, match=match):
        SemanticEvaluator(NAME).process([samples[4]], [{"sem_seg": output}])


def test_an_image_without_ground_truth_is_an_error(samples):
    with pytest.raises(ValueError, match="neither sem_seg_file_name nor pan_seg_file_name"):
        SemanticEvaluator(NAME).process([{"file_name": "other.jpg"}], [{"sem_seg": torch.zeros(2, 2, dtype=torch.int)}])


def test_a_repeated_image_counts_once_and_evaluating_twice_changes_nothing(samples, caplog):
    evaluator = SemanticEvaluator(NAME)
    for image_id in (4, 9, 9, 4):
        evaluator.process([samples[image_id]], [{"sem_seg": scores(PREDICTED[image_id])}])
    for _ in range(2):
        evaluator.evaluate()
        assert evaluator.confusion.tolist() == CONFUSION
    assert "Image 9 came twice" in caplog.text


def test_without_images_nothing_is_defined(samples, caplog):
    assert math.isnan(SemanticEvaluator(NAME).evaluate()["sem_seg"]["mIoU"])
    assert "Not a single image" in caplog.text


def test_another_label_to_ignore_and_classes_without_ids(tmp_path):
    name = "semantic_test_ignore"
    sample = sample_of(tmp_path, 1, np.array([[1, 2]]), [segment(1, 0), segment(2, 2)])
    DatasetCatalog.register(name, lambda: [sample])
    MetadataCatalog.get(name).set(stuff_classes=["fox", "hen"], ignore_label=2)
    try:
        evaluator = SemanticEvaluator(name, output_dir=tmp_path / "out", write_submission=True)
        evaluator.process([sample], [{"sem_seg": torch.tensor([[0, 1]])}])
        assert evaluator.evaluate()["sem_seg"]["pACC"] == 100
        entries = json.loads((tmp_path / "out" / SUBMISSION).read_text())
        assert [entry["category_id"] for entry in entries] == [0, 1]
    finally:
        forget(name)


def test_data_sets_without_classes_are_refused():
    with pytest.raises(ValueError, match="semantic_test_unknown has no stuff_classes"):
        SemanticEvaluator("semantic_test_unknown")


@pytest.mark.parametrize(("ignore_label", "classes"), [(None, 256), (1, 2)])
def test_data_sets_with_a_class_that_is_ignored_are_refused(ignore_label, classes):
    name = "semantic_test_ignored_class"
    MetadataCatalog.get(name).set(stuff_classes=[str(index) for index in range(classes)])
    if ignore_label is not None:
        MetadataCatalog.get(name).ignore_label = ignore_label
    try:
        with pytest.raises(ValueError, match=f"ignore_label of the metadata of {name} is .* stuff_classes"):
            SemanticEvaluator(name)
    finally:
        MetadataCatalog.remove(name)

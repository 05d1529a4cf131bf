"""Reports of panoptic, semantic and classification runs: planted mistakes are counted and drawn."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from focalnet_d2.data.panoptic_labels import read_panoptic_ids, semantic_from_panoptic
from focalnet_d2.data.semantic_labels import read_record_labels
from focalnet_d2.run_reports.run_files import read_run
from focalnet_d2.run_reports.run_page import run_page
from tests.own_data_folders import BOXES, SIZE, write_classes, write_panoptic, write_semantic
from tests.registered_sets import registered  # noqa: F401  autouse
from tests.run_reports.made_runs import made_run
from tests.run_reports.pages import Page

pytest.importorskip("hotcoco", reason="hotcoco counts kinds of errors")


def page_of(folder):
    text = run_page(read_run(folder))
    assert "cannot be" not in text
    return Page(text)


def size_of(source):
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size


def found_segments(record):
    """The cat is split in two, the traffic light is a cat, the sky is right and the road is not there."""
    ids = read_panoptic_ids(record["pan_seg_file_name"]).astype(np.int64)
    classes = {one["id"]: one["category_id"] for one in record["segments_info"]}
    sem_seg = semantic_from_panoptic(ids, record["segments_info"], 255)  # every pixel has a class
    (x, y, w, h), cat = BOXES[4], classes[1]
    ids[y : y + h, x + w // 2 : x + w] = 11
    ids[ids == 400] = 0
    segments = [(1, cat), (11, cat), (2, cat), (300, classes[300])]
    objects = Instances((SIZE, SIZE))
    objects.pred_boxes = Boxes(torch.tensor([[x, y, x + w, y + h]], dtype=torch.float32))
    objects.scores, objects.pred_classes = torch.tensor([0.7]), torch.tensor([cat])
    objects.pred_masks = torch.from_numpy((ids == 1) | (ids == 11))[None]
    infos = [{"id": number, "category_id": index, "isthing": number < 100} for number, index in segments]
    return {"panoptic_seg": (torch.from_numpy(ids), infos), "instances": objects, "sem_seg": torch.from_numpy(sem_seg)}


def test_a_panoptic_run(tmp_path):
    root = write_panoptic(tmp_path / "data")
    page = page_of(made_run(tmp_path / "mine", "mask2former_focalnet_mini_quickstart", root, found_segments))
    true, predicted, sizes, matrix = page.tables["segments"]
    numbers = [{row[0].partition(":")[0]: row[1] for row in rows[1:]} for rows in (true, predicted)]
    assert numbers[0] == {"matched": "4", "confused": "4", "split": "4", "merged": "0", "void": "4", "missed": "0"}
    assert numbers[1] == {
        "matched": "4",
        "confused": "4",
        "void": "0",
        "part": "8",
        "merging": "0",
        "hallucinated": "0",
    }
    assert sum(int(row[1]) for row in sizes[1:]) == 16
    heads = matrix[0]
    rows = {row[0]: dict(zip(heads[1:], row[1:])) for row in matrix[1:]}
    assert rows["traffic light"]["cat"] == "4"
    assert rows["cat"] | {"split": "", "cat": ""} == dict.fromkeys(heads[1:], "")
    assert (rows["cat"]["split"], rows["road"]["void"], rows["sky"]["sky"], rows["part"]["cat"]) == ("4", "4", "4", "8")
    assert "1 matched, 3 false, 3 missed" in page.sections["panoptic-images"]
    assert {"masks", "boxes", "pixels"} <= set(page.sections)
    assert "semantic-images" not in page.sections
    assert {size_of(source) for source in page.sources} == {(SIZE, SIZE)}


def test_a_semantic_run(tmp_path):
    def predict(record):
        labels = read_record_labels(record).astype(np.int64)
        labels[labels == 1] = 2  # water is rock
        return {"sem_seg": torch.from_numpy(labels)}

    root = write_semantic(tmp_path / "data")
    page = page_of(made_run(tmp_path / "mine", "upernet_focalnet_mini_ade20k", root, predict))
    assert page.row("pixels", "water") == ["water", "", "", "100.0%"]
    assert page.row("pixels", "grass") == ["grass", "100.0%", "", ""]
    assert "mean IoU 51.5" in page.sections["semantic-images"]  # (1 + 0 + 24 / 44) / 3
    assert len(page.sources) == 8


def test_a_classification_run(tmp_path):
    def predict(record):
        predicted = {0: 0, 1: 2, 2: 2}[record["class_id"]]  # bees are wasps
        return {"scores": torch.tensor([2.0 if index == predicted else 0.0 for index in range(3)])}

    root = write_classes(tmp_path / "data")
    folder = made_run(tmp_path / "mine", "classifier_focalnet_mini_folder", root, predict)
    page = page_of(folder)
    assert page.row("confusions", "bee")[1:] == ["", "", "3"]
    assert ["bee", "wasp", "3"] in page.tables["confusions"][1]
    assert page.row("confusions", "ant")[1:] == ["3", "", ""]
    probability = np.exp(2) / (np.exp(2) + 2)
    assert f"Expected calibration error {probability - 6 / 9:.3f}" in page.sections["confusions"]
    assert "is bee, predicted wasp 79 %" in page.sections["classified-images"]
    assert len(page.sources) == 9
    content = json.loads((folder / "classification_confusion_counts.json").read_text())
    assert content["pairs"] == [[0, 0, 3], [1, 2, 3], [2, 2, 3]]


def test_examples_of_images_that_are_gone_leave_the_rest(tmp_path):
    root = write_semantic(tmp_path / "data")
    folder = made_run(
        tmp_path / "mine", "upernet_focalnet_mini_ade20k", root, lambda record: {"sem_seg": torch.zeros(64, 64).long()}
    )
    (folder / "sem_seg_examples.json").write_text('{"worst": [{"image_id": "x", "file_name": "x"}], "best": []}')
    page = Page(run_page(read_run(folder)))
    assert "cannot be made" in page.sections["errors"]
    assert page.row("pixels", "water")

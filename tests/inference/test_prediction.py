"""Results in the formats of other tools: what is read back is what was predicted, in the ids of the data set."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.annotations.instances import read_instances
from focalnet_d2.data.annotations.panoptic import read_panoptic
from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.folders.dataset import Split
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.folders.layouts import LAYOUTS
from focalnet_d2.data.panoptic_labels import read_listed_ids
from focalnet_d2.inference.image_input import InputImage
from focalnet_d2.inference.prediction import Prediction, read_result
from focalnet_d2.structures.packed_masks import PackedMasks
from focalnet_d2.utils import warnings_once

CLASSES = class_map([30, 7, 200], ["cat", "dog", "grass"], things=[True, True, False])
SIZE = (24, 32)


def masks_of(seed: int, count: int = 3) -> np.ndarray:
    draws = np.random.default_rng(seed)
    masks = np.zeros((count, *SIZE), bool)
    for mask in masks:
        top, left = draws.integers(0, 12, 2)
        mask[top : top + draws.integers(3, 12), left : left + draws.integers(3, 18)] = True
    return masks


def result(seed: int = 0, *, packed: bool = False) -> dict:
    masks = masks_of(seed)
    boxes = np.array([[m.any(0).argmax(), m.any(1).argmax(), *box_end(m)] for m in masks], np.float32)
    instances = Instances(SIZE, pred_boxes=Boxes(torch.from_numpy(boxes)), scores=torch.tensor([0.3, 0.9, 0.6]),
                          pred_classes=torch.tensor([0, 1, 0]))  # fmt: skip
    tensor = torch.from_numpy(masks)
    instances.pred_masks = PackedMasks.pack(tensor) if packed else tensor
    ids = np.zeros(SIZE, np.int32)
    for number, mask in enumerate(masks, 1):
        ids[mask] = number
    segments = [{"id": n, "category_id": c, "isthing": c < 2} for n, c in ((1, 2), (2, 1), (3, 0))]
    semantic = torch.from_numpy(ids.clip(0, 2)).long()
    return {"instances": instances, "panoptic_seg": (torch.from_numpy(ids), segments), "sem_seg": semantic}


def box_end(mask: np.ndarray) -> tuple[int, int]:
    return int(np.flatnonzero(mask.any(0))[-1]) + 1, int(np.flatnonzero(mask.any(1))[-1]) + 1


def prediction(seed: int = 0, *, threshold: float = 0.0, path=None, packed: bool = False) -> Prediction:
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return read_result(
        result(seed, packed=packed), InputImage(image, "image", path), classes=CLASSES, threshold=threshold
    )


def without_masks(full: Prediction) -> Prediction:
    return Prediction(full.image, CLASSES, boxes=full.boxes, scores=full.scores, class_ids=full.class_ids)


def test_the_best_come_first_and_the_poor_not_at_all():
    found = prediction(threshold=0.5)
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert found.names == ["dog", "cat"]
    assert found.category_ids == [7, 30]
    assert np.array_equal(found.masks, masks_of(0)[[1, 2]])


def test_scores_that_are_no_numbers_are_refused():
    broken = result()
    broken["instances"].scores[1] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinite for the image a.jpg"):
        read_result(broken, InputImage(np.zeros((*SIZE, 3), np.uint8), "a.jpg"), classes=CLASSES)


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ({"sem_seg": torch.full((3, *SIZE), float("nan"))}, "scores of pixels"),
        ({"scores": torch.tensor([0.0, float("inf")])}, "scores"),
        ({"instances": Instances(SIZE, pred_boxes=Boxes(torch.full((1, 4), float("nan"))), scores=torch.ones(1),
                                 pred_classes=torch.zeros(1, dtype=torch.long))}, "boxes"),
    ],
)  # fmt: skip
def test_whatever_is_no_number_is_refused(broken, what):
    with pytest.raises(ValueError, match=rf"gives {what} that are NaN or infinite for the image a.jpg"):
        read_result(broken, InputImage(np.zeros((*SIZE, 3), np.uint8), "a.jpg"), classes=CLASSES)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), packed=st.booleans())
def test_coco_is_read_back_equal(seed, packed, tmp_path_factory):
    found, path = prediction(seed, packed=packed), tmp_path_factory.mktemp("coco") / "a.json"
    path.write_text(json.dumps(found.to_coco(image_id=12)), encoding="utf-8")
    content = read_instances(path)
    assert [one["category_id"] for one in content.annotations] == found.category_ids
    for one, box, mask, score in zip(content.annotations, found.boxes, found.masks, found.scores, strict=True):
        left, top, width, height = one["bbox"]
        assert np.array_equal([left, top, left + width, top + height], box)
        assert np.array_equal(mask_codec.decode(one["segmentation"]).astype(bool), np.asarray(mask))
        assert one["area"] == np.asarray(mask).sum()
        assert one["score"] == pytest.approx(float(score))


def test_panoptic_files_are_read_back_equal(tmp_path):
    found = prediction(path=tmp_path / "street.jpg")
    found.save(tmp_path / "out")
    truth = read_panoptic(tmp_path / "out" / "street.jpg.panoptic.json")
    (entry,) = truth.segments.values()
    assert {one["id"]: one["category_id"] for one in entry["segments_info"]} == {1: 200, 2: 7, 3: 30}
    assert entry["file_name"] == "street.jpg.panoptic.png"
    ids = read_listed_ids(tmp_path / "out" / entry["file_name"], entry["segments_info"])
    assert np.array_equal(ids, found.panoptic_map)
    assert sum(one["area"] for one in entry["segments_info"]) == (ids > 0).sum()


def test_all_files_are_written_and_nothing_else(tmp_path):
    written = prediction().save(tmp_path, "sub/one", picture=True)
    endings = [".panoptic.png", ".panoptic.json", ".semantic.png", ".picture.png", ".json"]
    assert written == [tmp_path / "sub" / f"one{ending}" for ending in endings]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)
    pixels = np.asarray(Image.open(tmp_path / "sub" / "one.semantic.png"))
    assert np.array_equal(pixels, np.array([30, 7, 200])[prediction().semantic_map])


def test_a_prediction_of_no_file_needs_a_name(tmp_path):
    with pytest.raises(ValueError, match="give a name"):
        prediction().save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("masks", [True, False])
def test_labelme_is_read_back_equal_by_our_reader(masks, tmp_path):
    path = tmp_path / "image.png"
    full = prediction(path=path)
    Image.fromarray(full.image).save(path)
    found = full if masks else Prediction(
        full.image, CLASSES, path, boxes=full.boxes, scores=full.scores, class_ids=full.class_ids
    )  # fmt: skip
    (tmp_path / "image.json").write_text(json.dumps(found.to_labelme()), encoding="utf-8")
    (dataset,) = find_datasets(str(tmp_path), layout="labelme", split=Split(0.0))
    content = LAYOUTS["labelme"].read(dataset.parts["train"], strict)
    names = {entry.dataset_id: entry.name for entry in dataset.classes.classes}
    assert [names[one["category_id"]] for one in content.annotations] == found.names
    for one, box, mask in zip(content.annotations, full.boxes, full.masks, strict=True):
        left, top, width, height = one["bbox"]
        assert np.array_equal([left, top, left + width, top + height], box)
        assert not masks or np.array_equal(mask_codec.decode(one["segmentation"]).astype(bool), mask)


def test_lines_of_yolo_are_boxes_or_outlines():
    full = prediction()
    for line, box, class_id in zip(without_masks(full).to_yolo(), full.boxes, full.class_ids, strict=True):
        kind, *shares = line.split()
        x, y, width, height = np.array(shares, float) * [*SIZE[::-1], *SIZE[::-1]]
        assert int(kind) == class_id
        np.testing.assert_allclose([x - width / 2, y - height / 2, x + width / 2, y + height / 2], box, atol=1e-4)
    for line, mask in zip(full.to_yolo(), full.masks, strict=True):
        points = np.array(line.split()[1:], float).reshape(-1, 2) * SIZE[::-1]
        drawn = mask_codec.decode(mask_codec.frPyObjects([points.ravel().tolist()], *SIZE))[..., 0].astype(bool)
        assert np.logical_xor(drawn, mask).sum() <= 4  # the corners of a rectangle


@pytest.mark.parametrize("masks", [True, False])
def test_lines_of_yolo_may_end_with_scores(masks):
    found = prediction() if masks else without_masks(prediction())
    lines = found.to_yolo(confidence=True)
    assert [line.rpartition(" ")[0] for line in lines] == found.to_yolo()
    np.testing.assert_allclose([float(line.split()[-1]) for line in lines], found.scores, atol=1e-6)


def test_ids_that_no_pixel_can_have_leave_the_other_files(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(warnings_once, "_said", set())
    found = replace(prediction(), classes=class_map(["c", "d", "g"], ["cat", "dog", "grass"]))
    written = [{path.name for path in found.save(tmp_path / name, name)} for name in ("a", "b")]
    assert written[0] == {"a.json", "a.panoptic.json", "a.panoptic.png"}
    assert written[1] == {"b.json", "b.panoptic.json", "b.panoptic.png"}
    assert caplog.text.count("The class id 'c' is no value of a pixel") == 1


def test_yolo_is_read_back_equal_by_our_reader(tmp_path):
    found = without_masks(prediction())
    for kind in ("images", "labels"):
        (tmp_path / kind / "train").mkdir(parents=True)
    Image.fromarray(found.image).save(tmp_path / "images" / "train" / "a.png")
    (tmp_path / "labels" / "train" / "a.txt").write_text("\n".join(found.to_yolo()), encoding="utf-8")
    (tmp_path / "data.yaml").write_text(f"train: images/train\nval: images/train\nnames: {CLASSES.names}\n")
    (dataset,) = find_datasets(str(tmp_path), layout="yolo")
    content = LAYOUTS["yolo"].read(dataset.parts["train"], strict)
    names = {entry.dataset_id: entry.name for entry in dataset.classes.classes}
    assert [names[one["category_id"]] for one in content.annotations] == found.names
    for one, box in zip(content.annotations, found.boxes, strict=True):
        left, top, width, height = one["bbox"]
        np.testing.assert_allclose([left, top, left + width, top + height], box, atol=1e-4)


def test_class_scores_are_probabilities_and_named():
    image = InputImage(np.zeros((*SIZE, 3), np.uint8), "a")
    found = read_result({"scores": torch.tensor([0.0, 2.0, 1.0])}, image, classes=CLASSES)
    assert found.class_scores.sum() == pytest.approx(1)
    rows = found.to_coco()["class_scores"]
    assert [row["category_id"] for row in rows] == [7, 200, 30]
    assert [row["name"] for row in rows] == ["dog", "grass", "cat"]
    with pytest.raises(ValueError, match="no panoptic map"):
        found.to_panoptic()


def test_supervision_gets_boxes_masks_and_names():
    pytest.importorskip("supervision")
    detections = prediction().to_supervision()
    assert detections.data["class_name"].tolist() == ["dog", "cat", "cat"]
    assert np.array_equal(detections.mask, prediction().masks)


def test_without_supervision_the_command_to_type_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "supervision", None)
    for call in (prediction().to_supervision, prediction().plot):
        with pytest.raises(ImportError, match=r"needs supervision: pip install focalnet-d2\[predict\]"):
            call()
    assert prediction()._repr_png_() is None
    prediction().save(tmp_path, "a")  # which needs none of it


def test_one_line_says_what_a_prediction_holds(tmp_path):
    found = prediction(path=tmp_path / "a.png")
    assert repr(found) == (
        f"Prediction({tmp_path / 'a.png'}, 32x24: 3 masks (2 cat, 1 dog), panoptic map of 3 segments, "
        "semantic map of 3 classes)"
    )
    assert repr(Prediction(found.image, CLASSES)) == "Prediction(image in memory, 32x24: nothing)"
    many = Prediction(found.image, class_map(range(9), list("abcdefghi")), boxes=np.zeros((9, 4), np.float32),
                      scores=np.ones(9, np.float32), class_ids=np.arange(9))  # fmt: skip
    assert "9 boxes (1 a, 1 b, 1 c, 1 d, 1 e, 4 more classes)" in repr(many)

"""Samples of every kind with their targets and results, as pictures of one size."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.mappers.base import mask_targets
from focalnet_d2.run_reports.training_pictures import SIDE, TrainingPictures

pytest.importorskip("supervision")

RED, GREEN = (220, 10, 10), (0, 170, 60)
SIZE = (60, 80)


def classes_of(things):
    return class_map([4, 9], ["sun", "grass"], things=things, colors=[RED, GREEN])


def masks():
    """The left half, and the rest without a strip at the bottom: (2, H, W)."""
    found = np.zeros((2, *SIZE), bool)
    found[0, :, :40] = True
    found[1, :50, 40:] = True
    return found


def boxes():
    objects = Instances(SIZE)
    objects.gt_boxes = Boxes(torch.tensor([[4.0, 4, 36, 56], [44, 4, 76, 56], [0, 0, 0, 0]]))
    objects.gt_classes = torch.tensor([0, 1, 0])
    return objects


def targets_of(kind):
    labels = torch.full(SIZE, 255)
    labels[:, :40], labels[:50, 40:] = 0, 1
    return {
        "boxes": {"instances": boxes()},
        "masks": {"instances": mask_targets(masks(), [0, 1])},
        "segments": {"instances": mask_targets(masks(), [0, 1])},
        "labels": {"sem_seg": labels},
        "class": {"class_id": 1},
    }[kind]


def result_of(kind):
    found = Instances(SIZE)
    found.pred_boxes = Boxes(torch.tensor([[4.0, 4, 36, 56], [44, 4, 76, 56], [10, 10, 30, 30]]))
    found.scores, found.pred_classes = torch.tensor([0.9, 0.4, 0.2]), torch.tensor([0, 1, 1])
    scores = torch.stack([torch.from_numpy(mask).float() for mask in masks()])
    ids = torch.from_numpy(masks()[0] * 3 + masks()[1] * 5)
    segments = [{"id": 3, "category_id": 0, "isthing": True}, {"id": 5, "category_id": 1, "isthing": False}]
    if kind == "masks":
        found.pred_masks = torch.from_numpy(masks()[[0, 1, 1]])
    return {
        "segments": {"panoptic_seg": (ids, segments), "instances": found},
        "labels": {"sem_seg": scores},
        "class": {"scores": torch.tensor([0.2, 3.0])},
    }.get(kind, {"instances": found})


def sample_of(kind, value=128):
    image = np.full((*SIZE, 3), value, np.uint8)
    return {"image": image, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1], **targets_of(kind)}


def classes_for(kind):
    things = {"segments": [True, False], "labels": False}
    return classes_of(things.get(kind, True))


def near(picture, color):
    """(H, W): whether pixels look like a color."""
    return np.abs(picture.astype(int) - color).max(axis=2) < 12


def drawn(kind, what):
    draw = TrainingPictures()
    if what == "targets":
        return draw.targets(sample_of(kind), classes_for(kind))
    return draw.results(sample_of(kind), result_of(kind), classes_for(kind), 0.3)


@pytest.mark.parametrize("what", ["targets", "results"])
@pytest.mark.parametrize("kind", ["boxes", "masks", "segments", "labels"])
def test_truth_and_prediction_show_the_classes_at_their_places(kind, what):
    picture = drawn(kind, what)
    assert picture.shape == (SIDE * 3 // 4, SIDE, 3)
    left, right = picture[:, : SIDE // 2 - 8], picture[:, SIDE // 2 + 8 :]
    assert near(left, RED).sum() > 100
    assert not near(left, GREEN).any()
    assert near(right, GREEN).sum() > 100
    assert not near(right, RED).any()


def test_of_a_classifier_the_class_and_the_best_classes_are_written():
    truth, result = drawn("class", "targets"), drawn("class", "results")
    assert near(truth[: SIDE // 4, : SIDE // 4], GREEN).any()
    assert not near(truth, RED).any()
    assert near(result, GREEN).any()
    assert near(result, RED).any()


def test_what_has_no_class_stays_as_it_is():
    for kind in ("segments", "labels"):
        picture = TrainingPictures().targets(sample_of(kind), classes_for(kind))
        assert np.abs(picture[-20:, SIDE // 2 + 12 :].astype(int) - 128).max() < 12


def test_targets_have_no_scores_and_weak_objects_are_left_out():
    draw = TrainingPictures()
    weak = draw.results(sample_of("boxes"), result_of("boxes"), classes_for("boxes"), 0.5)
    assert not near(weak, GREEN).any()
    truth = draw.targets(sample_of("boxes"), classes_for("boxes"))
    sure = draw.results(sample_of("boxes"), result_of("boxes"), classes_for("boxes"), 0.3)
    assert near(truth, RED).sum() < near(sure, RED).sum()  # the label is longer by its number


def test_an_image_without_targets_is_shown_alone():
    empty = {"instances": Instances(SIZE, gt_boxes=Boxes(torch.zeros(0, 4)), gt_classes=torch.zeros(0, dtype=int))}
    picture = TrainingPictures().targets({**sample_of("boxes"), **empty}, classes_for("boxes"))
    assert np.abs(picture.astype(int) - 128).max() == 0


@settings(max_examples=12)
@given(height=st.integers(1, 1500), width=st.integers(1, 1500), x=st.floats(0, 0.9), y=st.floats(0, 0.9))
def test_any_size_fits_a_sheet(height, width, x, y):
    objects = Instances((height, width))
    objects.gt_boxes = Boxes(torch.tensor([[x * width, y * height, width, height]]))
    objects.gt_classes = torch.tensor([0])
    objects.gt_masks = BitMasks(torch.ones(1, height, width, dtype=torch.bool))
    sample = {"image": np.zeros((height, width, 3), np.uint8), "instances": objects}
    picture = TrainingPictures().targets(sample, classes_of(True))
    assert max(picture.shape) == SIDE
    assert near(picture, RED).any() or near(picture, [value * 0.45 for value in RED]).any()


def test_a_sheet_has_all_pictures_and_their_names(tmp_path):
    pairs = [[np.full((30, 40, 3), 10 * index + step, np.uint8) for step in (0, 5)] for index in range(3)]
    TrainingPictures().write(tmp_path / "new" / "a.jpg", pairs, ("truth", "after 1 iteration"), ("a", "b", "c"))
    sheet = np.asarray(Image.open(tmp_path / "new" / "a.jpg").convert("RGB"))
    assert sheet.shape[1] >= 4 * 40
    assert sheet.shape[0] >= 2 * 30
    assert (sheet < 40).all(axis=2).sum() >= 6 * 30 * 40 * 0.9
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.jpg"]

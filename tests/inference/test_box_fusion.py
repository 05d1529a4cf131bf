"""Fusion of boxes against numbers made by hand."""

import math
import sys
import warnings

import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.inference.box_fusion import Nms, SoftNms, WeightedBoxFusion

FUSIONS = (Nms(), SoftNms(), WeightedBoxFusion())
BOX = [10.0, 20.0, 50.0, 60.0]
HALF = [10.0, 20.0, 30.0, 60.0]  # the left half: IoU 1/2
FAR = [100.0, 20.0, 140.0, 60.0]


def detections(*rows, size=(80, 160)) -> Instances:
    """Rows of box, score, class, in an image of (h, w)."""
    boxes, scores, classes = zip(*rows) if rows else ((), (), ())
    return Instances(
        size,
        pred_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)),
        scores=torch.tensor(scores, dtype=torch.float32),
        pred_classes=torch.tensor(classes, dtype=torch.int64),
    )


def rows_of(found: Instances) -> list[tuple]:
    """Best first: box, score, class."""
    order = found.scores.argsort(descending=True)
    rows = zip(
        found.pred_boxes.tensor[order].tolist(), found.scores[order].tolist(), found.pred_classes[order].tolist()
    )
    return [(pytest.approx(box, abs=1e-4), pytest.approx(score, abs=1e-6), label) for box, score, label in rows]


def test_suppression_keeps_the_better_of_two_boxes_of_a_class():
    runs = [detections((BOX, 0.9, 0), (FAR, 0.5, 0)), detections((HALF, 0.8, 0), (HALF, 0.7, 1))]
    assert rows_of(Nms(iou_threshold=0.4)(runs)) == [(BOX, 0.9, 0), (HALF, 0.7, 1), (FAR, 0.5, 0)]
    assert rows_of(Nms(iou_threshold=0.6)(runs)) == [(BOX, 0.9, 0), (HALF, 0.8, 0), (HALF, 0.7, 1), (FAR, 0.5, 0)]
    assert len(Nms(iou_threshold=1)([runs[0], runs[0]])) == 4


def test_scores_decay_with_the_overlap_to_each_better_box():
    runs = [detections((BOX, 0.9, 0), (HALF, 0.6, 1)), detections((HALF, 0.8, 0), (BOX, 0.7, 0), (FAR, 0.5, 0))]
    best, other = 0.9, 0.8 * math.exp(-0.25 / 0.5)  # HALF beside BOX; 0.49 > 0.7 * exp(-1 / 0.5), so it comes next
    last = 0.7 * math.exp(-1 / 0.5) * math.exp(-0.25 / 0.5)
    expected = [(BOX, best, 0), (HALF, 0.6, 1), (FAR, 0.5, 0), (HALF, other, 0), (BOX, last, 0)]
    assert rows_of(SoftNms(sigma=0.5)(runs)) == expected
    assert rows_of(SoftNms(sigma=0.5, skip_below=0.1)(runs)) == expected[:-1]


def test_equal_boxes_stay_and_have_the_mean_score():
    runs = [detections((BOX, 0.9, 3)), detections((BOX, 0.6, 3))]
    assert rows_of(WeightedBoxFusion()(runs)) == [(BOX, 0.75, 3)]


def test_fused_boxes_are_means_weighted_by_the_scores():
    runs = [detections((BOX, 0.9, 0), (FAR, 0.4, 0)), detections((HALF, 0.3, 0), (HALF, 0.5, 1)), detections()]
    right = (0.9 * 50 + 0.3 * 30) / 1.2
    expected = [([10, 20, right, 60], 1.2 / 3, 0), (HALF, 0.5 / 3, 1), (FAR, 0.4 / 3, 0)]  # 3 runs, one without boxes
    assert rows_of(WeightedBoxFusion(iou_threshold=0.4)(runs)) == expected
    assert rows_of(WeightedBoxFusion(iou_threshold=0.4, skip_below=0.45)(runs))[0] == (BOX, 0.3, 0)


def test_weighted_boxes_end_at_the_borders_without_a_word():
    rows = ([-10.0, 70.0, 20.0, 90.0], 0.8, 0), ([170.0, 0.0, 180.0, 20.0], 0.7, 0), ([5.0, 5.0, 5.0, 9.0], 0.6, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fused = WeightedBoxFusion()([detections(*rows)])
    assert rows_of(fused) == [([0, 70, 20, 80], 0.8, 0)]


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: type(fusion).__name__)
def test_nothing_found(fusion):
    fused = fusion([detections(), detections()])
    assert len(fused) == 0
    assert fused.image_size == (80, 160)
    assert fused.pred_boxes.tensor.shape == (0, 4)
    assert fused.pred_classes.dtype == torch.int64


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: type(fusion).__name__)
def test_scores_of_zero_and_boxes_without_area_do_no_harm(fusion):
    fused = fusion([detections((BOX, 0.5, 0), (BOX, 0.0, 0), (HALF, 0.0, 1), ([3.0, 3.0, 3.0, 9.0], 0.3, 0))] * 2)
    assert fused.scores.isfinite().all()
    assert fused.pred_boxes.tensor.isfinite().all()
    assert fused.scores.max() == 0.5


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: type(fusion).__name__)
def test_type_and_inputs_stay(fusion):
    runs = [detections((BOX, 0.9, 0), (HALF, 0.8, 0)), detections(([-5.0, 20.0, 50.0, 60.0], 0.7, 0))]
    before = [run.pred_boxes.tensor.clone() for run in runs]
    fused = fusion(runs)
    assert (fused.scores.dtype, fused.pred_boxes.tensor.dtype) == (torch.float32, torch.float32)
    assert all(torch.equal(run.pred_boxes.tensor, boxes) for run, boxes in zip(runs, before))
    assert [len(run) for run in runs] == [2, 1]


corners = st.tuples(st.integers(-20, 140), st.integers(-20, 70), st.integers(1, 80), st.integers(1, 60))
boxes = corners.map(lambda c: [float(c[0]), float(c[1]), float(c[0] + c[2]), float(c[1] + c[3])])
rows = st.tuples(boxes, st.integers(10, 100).map(lambda score: score / 100), st.integers(0, 2))
some_runs = st.lists(st.lists(rows, max_size=4), min_size=1, max_size=3)


@given(some_runs)
def test_no_score_rises_and_no_class_appears(runs):
    runs = [detections(*run) for run in runs]
    together = Instances.cat(runs)
    for fusion in FUSIONS:
        fused = fusion(runs)
        assert len(fused) <= len(together)
        for label in fused.pred_classes.unique():
            found = together.scores[together.pred_classes == label]
            assert fused.scores[fused.pred_classes == label].max() <= found.max() + 1e-6


@given(some_runs)
def test_weighted_boxes_lie_in_the_image(runs):
    left, top, right, bottom = WeightedBoxFusion()([detections(*run) for run in runs]).pred_boxes.tensor.unbind(-1)
    assert ((left >= 0) & (left < right) & (right <= 160)).all()
    assert ((top >= 0) & (top < bottom) & (bottom <= 80)).all()


@pytest.mark.parametrize("cls", [SoftNms, WeightedBoxFusion])
def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch, cls):
    monkeypatch.setitem(sys.modules, "ensemble_boxes", None)
    with pytest.raises(ValueError, match=r'pip install "focalnet-d2\[test-time-augmentation\]"'):
        cls()
    assert len(Nms()([detections((BOX, 0.9, 0))])) == 1

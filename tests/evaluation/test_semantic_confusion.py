"""The maths of semantic scores: the confusion matrix, and the numbers that follow from it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from focalnet_d2.evaluation.confusion import (
    count_confusion,
    has_unfounded_classes,
    semantic_results,
    without_label,
)

NAMES = ["fox", "hen", "sky"]


PREDICTED = np.array([[0, 0, 1], [1, 2, 2]], np.uint8)
TRUTH = np.array([[0, 1, 1], [255, 255, 0]], np.uint8)
CONFUSION = [[1, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]]


def test_confusion_by_hand():
    confusion = count_confusion(PREDICTED, TRUTH, 3, 255, "it", "it.png")
    assert confusion.tolist() == CONFUSION
    assert count_confusion(PREDICTED.astype(np.int64), TRUTH, 3, 255, "it", "it.png").tolist() == CONFUSION


@given(predicted=arrays(np.uint8, (6, 7), elements=st.integers(0, 3)), seed=st.integers(0, 99))
def test_every_pixel_is_counted_once(predicted, seed):
    truth = np.random.default_rng(seed).choice([0, 1, 2, 3, 255], predicted.shape)
    confusion = count_confusion(predicted, truth, 4, 255, "it", "it.png")
    assert confusion[:, :-1].sum(0).tolist() == [int((truth == k).sum()) for k in range(4)]
    assert confusion.sum(1).tolist() == [*((predicted == k).sum() for k in range(4)), 0]
    assert confusion.diagonal().sum() == (predicted == truth).sum()


@pytest.mark.parametrize(
    ("predicted", "truth", "match"),
    [
        (np.array([[0, 3]]), np.array([[0, 0]]), "The map of image 5 has the labels 3; classes go from 0 to 2"),
        (np.array([[0, -1]]), np.array([[0, 0]]), "The map of image 5 has the labels -1"),
        (np.array([[0, 255]]), np.array([[0, 0]]), "The map of image 5 has the labels 255"),
        (
            np.array([[0, 1]]),
            np.array([[0, 7]]),
            r"The label file 5\.png holds the labels 7; allowed are 0 to 2 and 255",
        ),
        (np.array([[0, 1]]), np.array([[0], [1]]), "The map of image 5 is \\(1, 2\\) pixels .* \\(2, 1\\)"),
    ],
)
def test_maps_that_cannot_be_counted_are_named(predicted, truth, match):
    with pytest.raises(ValueError, match=match):
        count_confusion(predicted, truth, 3, 255, "image 5", "5.png")


def test_numbers_by_hand_with_a_class_that_does_not_occur():
    confusion = np.array(CONFUSION)
    assert has_unfounded_classes(confusion)
    official = semantic_results(confusion, NAMES, official=True)
    assert official["IoU-fox"] == pytest.approx(100 / 3)  # 1 right, 2 true, 2 predicted
    assert official["IoU-hen"] == pytest.approx(50)  # its prediction on an ignored pixel does not count
    assert math.isnan(official["IoU-sky"])
    assert math.isnan(official["ACC-sky"])
    assert official["mIoU"] == pytest.approx((100 / 3 + 50) / 2)
    assert official["fwIoU"] == official["mIoU"]  # two true pixels of either class
    assert official["mACC"] == official["pACC"] == pytest.approx(50)
    corrected = semantic_results(confusion, NAMES, official=False)
    assert corrected["IoU-sky"] == 0
    assert corrected["mIoU"] == pytest.approx((100 / 3 + 50 + 0) / 3)
    unchanged = ("fwIoU", "mACC", "pACC", "IoU-fox", "IoU-hen", "ACC-fox", "ACC-hen")
    assert all(corrected[name] == official[name] for name in unchanged)
    assert all(type(value) is float for value in official.values())


def test_a_class_predicted_on_ignored_pixels_alone_changes_nothing():
    confusion = count_confusion(np.array([[0, 2]]), np.array([[0, 255]]), 3, 255, "it", "it.png")
    assert not has_unfounded_classes(confusion)
    for official in (True, False):
        results = semantic_results(confusion, NAMES, official=official)
        assert results["mIoU"] == 100
        assert math.isnan(results["IoU-sky"])


@pytest.mark.filterwarnings("error")
def test_without_ground_truth_nothing_is_defined():
    for official in (True, False):
        assert all(map(math.isnan, semantic_results(np.zeros((4, 4), int), NAMES, official=official).values()))


@pytest.mark.parametrize("official", [True, False])
def test_labels_that_begin_at_1_score_as_the_same_labels_from_0(official):
    random = np.random.RandomState(4)
    truth, predicted = random.randint(0, 4, (20, 30)), random.randint(1, 4, (20, 30))
    raw = without_label(count_confusion(predicted, truth, 4, 0, "it", "it.png"), 0)
    shifted = count_confusion(predicted - 1, np.where(truth == 0, 255, truth - 1), 3, 255, "it", "it.png")
    assert np.array_equal(raw, shifted)
    assert semantic_results(raw, NAMES, official=official) == semantic_results(shifted, NAMES, official=official)


@pytest.mark.parametrize("official", [True, False])
def test_no_class_where_there_is_one_is_wrong_and_no_class_of_its_own(official):
    truth, predicted = np.array([[0, 1, 1, 2]]), np.array([[1, 1, 0, 0]])
    confusion = without_label(count_confusion(predicted, truth, 3, 0, "it", "it.png"), 0)
    results = semantic_results(confusion, ["fox", "hen"], official=official)
    assert (results["IoU-fox"], results["IoU-hen"]) == (50, 0)
    assert (results["mIoU"], results["mACC"]) == (25, 25)
    assert results["pACC"] == pytest.approx(100 / 3)
    assert not has_unfounded_classes(confusion)

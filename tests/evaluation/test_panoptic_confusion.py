"""Fates of segments: hand-made maps, and totals that add up to those of PQ for any maps."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.evaluation.panoptic_confusion import (
    CONFUSED,
    MATCHED,
    PREDICTED_FATES,
    TRUE_FATES,
    PanopticConfusion,
    segment_fates,
)
from focalnet_d2.evaluation.panoptic_counts import PanopticCounts, count_overlaps, read_segments, score_segments

SIDE, CLASSES = 10, 3


def segments_of(ids, classes, crowds=()):
    """Those that have a pixel, of class `classes[id]`."""
    present = [int(number) for number in np.unique(ids) if number]
    infos = [{"id": n, "category_id": classes[n], "iscrowd": int(n in crowds)} for n in present]
    return read_segments(infos, {index: index for index in range(CLASSES)}, "a test")


def fates_in_maps(truth, predicted, *listed):
    """From two maps (H, W) of ids and their segments."""
    return segment_fates(count_overlaps(truth, predicted, *listed), *listed)


def fates(truth, predicted, true_classes, predicted_classes, crowds=()):
    truth, predicted = np.array(truth), np.array(predicted)
    return fates_in_maps(
        truth, predicted, segments_of(truth, true_classes, crowds), segments_of(predicted, predicted_classes)
    )


@pytest.mark.parametrize(
    ("truth", "predicted", "true_classes", "predicted_classes", "true_fates", "predicted_fates"),
    [
        ([[1, 1, 1, 0]], [[1, 1, 0, 0]], {1: 0}, {1: 0}, [MATCHED], [MATCHED]),
        ([[1, 1, 1, 0]], [[1, 1, 0, 0]], {1: 0}, {1: 1}, [CONFUSED], [CONFUSED]),
        ([[1, 1, 1, 1]], [[1, 1, 2, 2]], {1: 0}, {1: 0, 2: 0}, ["split"], ["part", "part"]),
        ([[1, 1, 1, 1]], [[1, 1, 2, 2]], {1: 0}, {1: 0, 2: 1}, ["missed"], ["hallucinated", "hallucinated"]),
        ([[1, 1, 2, 2]], [[1, 1, 1, 1]], {1: 0, 2: 0}, {1: 0}, ["merged", "merged"], ["merging"]),
        ([[1, 1, 1, 2]], [[1, 1, 1, 1]], {1: 0, 2: 0}, {1: 0}, [MATCHED, "merged"], [MATCHED]),
        ([[1, 1, 1, 2]], [[1, 1, 1, 1]], {1: 0, 2: 1}, {1: 0}, [MATCHED, "missed"], [MATCHED]),
        ([[1, 1, 1, 1]], [[1, 0, 0, 0]], {1: 0}, {1: 0}, ["void"], ["hallucinated"]),
        ([[1, 0, 0, 0]], [[1, 1, 1, 1]], {1: 0}, {1: 0}, [MATCHED], [MATCHED]),  # void leaves the union
        ([[1, 0, 0, 0]], [[1, 1, 1, 1]], {1: 0}, {1: 1}, ["missed"], ["void"]),  # and excuses before it confuses
        ([[0, 0, 1, 1]], [[1, 1, 0, 0]], {1: 0}, {1: 0}, ["void"], ["void"]),
        ([[1, 1, 0, 0]], [[0, 0, 0, 0]], {1: 0}, {}, ["void"], []),
        ([[0, 0, 0, 0]], [[0, 0, 0, 0]], {}, {}, [], []),
    ],
)
def test_hand_made_maps(truth, predicted, true_classes, predicted_classes, true_fates, predicted_fates):
    found = fates(truth, predicted, true_classes, predicted_classes)
    assert found.true_fates == true_fates
    assert found.predicted_fates == predicted_fates


def test_a_crowd_excuses_what_its_class_has_on_it_and_has_no_fate():
    found = fates([[1, 1, 2, 2]], [[0, 0, 1, 2]], {1: 0, 2: 0}, {1: 0, 2: 1}, crowds={2})
    assert found.true_fates == ["void", "crowd"]
    assert found.predicted_fates == ["void", "hallucinated"]


maps = st.lists(st.integers(0, 5), min_size=SIDE, max_size=SIDE)
class_lists = st.lists(st.integers(0, CLASSES - 1), min_size=6, max_size=6)


@st.composite
def images(draw):
    """Blocks of segments in two maps that are alike or not, and which of the true ones are crowds."""
    truth = np.repeat(np.repeat([draw(maps)], 2, axis=0), 3, axis=1)
    predicted = np.repeat(np.repeat([draw(maps)], 2, axis=0), 3, axis=1)
    alike = draw(st.lists(st.booleans(), min_size=truth.shape[1], max_size=truth.shape[1]))
    predicted = np.where(alike, truth, predicted)
    return truth, predicted, draw(class_lists), draw(class_lists), draw(st.sets(st.integers(1, 5), max_size=2))


@settings(max_examples=80)
@given(st.lists(images(), min_size=1, max_size=3))
def test_totals_are_the_segments_and_give_the_counts_of_pq(drawn):
    total, counts = PanopticConfusion(CLASSES), PanopticCounts(CLASSES)
    true_segments, predicted_segments = np.zeros((2, CLASSES), int)
    for truth, predicted, true_classes, predicted_classes, crowds in drawn:
        listed = segments_of(truth, true_classes, crowds), segments_of(predicted, predicted_classes)
        total.add(fates_in_maps(truth, predicted, *listed))
        counts.add(score_segments(count_overlaps(truth, predicted, *listed), *listed, official=False))
        true_segments += np.bincount(listed[0].classes[~listed[0].crowd], minlength=CLASSES)
        predicted_segments += np.bincount(listed[1].classes, minlength=CLASSES)
    of_true, of_predicted = sum(total.true_counts.values()), sum(total.predicted_counts.values())
    assert (total.pairs.sum(1) + of_true == true_segments).all()
    assert (total.pairs.sum(0) + of_predicted == predicted_segments).all()
    right, confused = total.pairs.diagonal(), total.pairs - np.diag(total.pairs.diagonal())
    assert (right == counts.tp).all()
    assert (confused.sum(1) + of_true == counts.fn).all()
    assert (confused.sum(0) + of_predicted - total.predicted_counts["void"] == counts.fp).all()
    assert total.sizes.sum(0).tolist() == [true_segments.sum(), right.sum()]
    assert (total.true_counts["split"].sum() == 0) == (total.predicted_counts["part"].sum() == 0)


@settings(max_examples=25)
@given(st.lists(images(), min_size=2, max_size=2))
def test_counts_of_processes_add_up_and_survive_a_file(drawn):
    whole, first, second = (PanopticConfusion(CLASSES) for _ in range(3))
    for part, (truth, predicted, true_classes, predicted_classes, crowds) in zip((first, second), drawn):
        listed = segments_of(truth, true_classes, crowds), segments_of(predicted, predicted_classes)
        for one in (part, whole):
            one.add(fates_in_maps(truth, predicted, *listed))
    first.merge(second)
    content = json.loads(json.dumps(whole.to_plain(["a", "b", "c"])))
    for other in (first, PanopticConfusion.from_plain(content)):
        assert other.to_plain(["a", "b", "c"]) == whole.to_plain(["a", "b", "c"])
    assert set(content["true"]) == set(TRUE_FATES)
    assert set(content["predicted"]) == set(PREDICTED_FATES)

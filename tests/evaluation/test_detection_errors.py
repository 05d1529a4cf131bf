"""What detections get wrong: planted errors, and totals that fit the reference's counts for any detections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.evaluation.average_precision import average_precision
from focalnet_d2.evaluation.coco_backends import REFERENCE
from focalnet_d2.evaluation.coco_files import Detections, GroundTruth
from focalnet_d2.evaluation.detection_errors import (
    DEFAULT_THRESHOLD,
    ImageOutcome,
    best_point,
    can_analyze,
    detection_errors,
)

needs_hotcoco = pytest.mark.skipif(not can_analyze(), reason="hotcoco is not installed")
BOX, FAR = [10, 10, 40, 40], [120, 120, 30, 30]


def truth_of(objects, images=2):
    """Objects as (image, class, box, crowd), numbers from 1."""
    annotations = [
        {"id": n, "image_id": image, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for n, (image, label, box, crowd) in enumerate(objects, 1)
    ]
    sizes = [{"id": number, "height": 200, "width": 200} for number in range(1, images + 1)]
    return GroundTruth("a test", [f"i{n}" for n in range(1, images + 1)], [1, 2], ["a", "b"], sizes, annotations)


def found(*rows):
    """Detections as (image, class, box, score)."""
    images, labels, boxes, scores = zip(*rows) if rows else ((), (), (), ())
    return Detections(
        np.array(images, np.int64), np.array(labels, np.int64), np.array(scores, float), np.array(boxes).reshape(-1, 4)
    )


def errors_of(objects, *rows, max_dets=100):
    return detection_errors(truth_of(objects), found(*rows), "bbox", max_dets=max_dets)


@needs_hotcoco
@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("Cls", [(1, 2, BOX, 0.9)]),
        ("Loc", [(1, 1, [10, 10, 40, 12], 0.9)]),
        ("Both", [(1, 2, [10, 10, 40, 12], 0.9)]),
        ("Dupe", [(1, 1, BOX, 0.9), (1, 1, BOX, 0.8)]),
        ("Bkg", [(1, 1, FAR, 0.9)]),
        ("Miss", []),
    ],
)
def test_kinds_of_errors(kind, rows):
    counts = errors_of([(1, 1, BOX, 0)], *rows).counts
    assert counts[kind] == 1
    assert counts["Miss"] == (kind in ("Miss", "Both", "Bkg"))
    assert sum(counts.values()) == 1 + (counts["Miss"] and kind != "Miss")


@needs_hotcoco
def test_what_a_crowd_covers_is_in_no_number():
    errors = errors_of([(1, 1, BOX, 0), (1, 1, FAR, 1)], (1, 1, BOX, 0.9), (1, 1, [125, 125, 10, 10], 0.95))
    assert errors.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert errors.images == {"i1": ImageOutcome(1, 0, 0), "i2": ImageOutcome(0, 0, 0)}
    assert errors.bins[:, 2].sum() == 1
    assert sum(errors.counts.values()) == 0
    assert errors.objects_of_size == {"small": 0, "medium": 1, "large": 0}


@needs_hotcoco
def test_what_scores_below_the_best_point_does_not_count_as_wrong():
    errors = errors_of([(1, 1, BOX, 0), (2, 2, BOX, 0)], (1, 1, BOX, 0.6), (2, 2, BOX, 0.5), (2, 1, FAR, 0.4))
    assert errors.point[:2] == (0.5, 1.0)
    assert errors.confusion[2].sum() == 0
    assert errors.images["i2"] == ImageOutcome(1, 0, 0)
    assert errors.found_of_size == errors.objects_of_size == {"small": 0, "medium": 2, "large": 0}
    assert set(errors.precisions) == {"a", "b"}


@needs_hotcoco
@pytest.mark.parametrize(("max_dets", "counted"), [(1, 1), (3, 3), (100, 12)])
def test_what_lies_beyond_the_limit_is_in_no_number(max_dets, counted):
    rows = [(1, 1, BOX, 0.9 - number / 20) for number in range(12)]
    errors = errors_of([(1, 1, BOX, 0)], *rows, max_dets=max_dets)
    assert errors.bins[:, 2].sum() == counted
    assert errors.counts["Dupe"] == counted - 1


@needs_hotcoco
def test_without_any_detection_everything_is_missed():
    errors = errors_of([(1, 1, BOX, 0)])
    assert errors.point.threshold == DEFAULT_THRESHOLD
    assert errors.confusion.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert errors.images["i1"].f1 == 0
    assert errors.images["i2"].f1 == 1


boxes = st.tuples(*[st.sampled_from([0, 20, 40])] * 2, *[st.sampled_from([20, 30, 100])] * 2).map(list)
objects = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), boxes, st.sampled_from([0, 0, 1])), max_size=5)
scores = st.sampled_from([0.1, 0.3, 0.55, 0.8, 0.99])
detections = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), boxes, scores), max_size=9)


@needs_hotcoco
@settings(max_examples=40)
@given(objects.filter(lambda drawn: any(not crowd for *_, crowd in drawn)), detections)
def test_totals_fit_the_counts_of_the_reference(drawn, rows):
    truth, predicted = truth_of(drawn), found(*rows)
    errors = detection_errors(truth, predicted, "bbox", max_dets=100)
    reference = average_precision(truth, predicted, "bbox", backend=REFERENCE)
    counts = {key: sum(one[key] for one in reference.counts.values()) for key in ("tp", "fp", "fn")}
    total = counts["tp"] + counts["fn"]
    assert errors.bins[:, 2].sum() == counts["tp"] + counts["fp"]
    assert sum(errors.objects_of_size.values()) == total == errors.confusion[:2].sum()
    outcomes = np.array(list(errors.images.values()))
    assert outcomes[:, 0].sum() + outcomes[:, 2].sum() == total
    assert outcomes[:, :2].sum() == errors.confusion[:, :2].sum()
    assert sum(errors.found_of_size.values()) == outcomes[:, 0].sum() <= counts["tp"]
    for name, precision in errors.precisions.items():
        assert precision.mean() == pytest.approx(reference.per_class_50[name], abs=1e-12)
    if counts["tp"]:
        assert errors.point.recall == pytest.approx(outcomes[:, 0].sum() / total)


@settings(max_examples=60)
@given(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=12), st.integers(0, 5))
def test_no_threshold_is_better_than_the_best_point(drawn, missed):
    values, right = np.array([score for score, _ in drawn]), np.array([hit for _, hit in drawn])
    number = int(right.sum()) + missed
    point = best_point(values, right, number)
    if not right.any():
        assert point == (DEFAULT_THRESHOLD, 0, 0, 0)
        return
    every = {t: 2 * right[values >= t].sum() / ((values >= t).sum() + number) for t in values}
    assert point.f1 == pytest.approx(max(every.values()))
    assert every[point.threshold] == pytest.approx(point.f1)
    shown = values >= point.threshold
    assert (point.precision, point.recall) == pytest.approx((right[shown].mean(), right[shown].sum() / number))

"""The maths of panoptic quality on maps small enough to count by hand, and against panopticapi."""

import contextlib
import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.evaluation.panoptic_counts import PanopticCounts, panoptic_results, read_segments
from focalnet_d2.evaluation.panoptic_files import TruthFile, score_panoptic_files
from focalnet_d2.evaluation.panoptic_stats import PanopticStats, compare_maps
from tests.evaluation.panoptic_sets import segment

K = 3
INDEX = {index: index for index in range(K)}


def tally(truth, truth_segments, predicted, predicted_segments) -> PanopticStats:
    """One image; areas that are not given are counted from the pixels."""
    total = PanopticStats(K)
    truth_segments = read_segments(truth_segments, INDEX, "the truth")
    predicted_segments = read_segments(predicted_segments, INDEX, "the prediction")
    maps = np.array(truth), np.array(predicted)
    total.add(compare_maps(*maps, truth_segments, predicted_segments, "the prediction", "truth.png"), "truth.png")
    return total


def row(*stretches: tuple[int, int]) -> list[list[int]]:
    """A map of one row from (id, pixels)."""
    return [[number for number, pixels in stretches for _ in range(pixels)]]


def counted(counts: PanopticCounts, index: int) -> tuple[float, int, int, int]:
    return tuple(values[index].item() for values in (counts.iou, counts.tp, counts.fp, counts.fn))


def test_a_match_a_miss_and_a_false_alarm():
    truth = row((1, 6), (2, 4), (3, 10))
    predicted = row((8, 8), (9, 2), (4, 10))
    found = [segment(8, 0), segment(9, 1), segment(4, 0)]
    counts = tally(truth, [segment(1, 0), segment(2, 1), segment(3, 2)], predicted, found).official
    assert counted(counts, 0) == (6 / 8, 1, 1, 0)
    assert counted(counts, 1) == (0, 0, 1, 1)  # 2 of 4 pixels: an IoU of exactly one half is no match
    assert counted(counts, 2) == (0, 0, 0, 1)


def test_void_leaves_the_union_and_excuses_what_lies_on_it_for_more_than_half():
    truth = row((1, 6), (0, 14))
    predicted = row((5, 10), (6, 4), (0, 6))
    counts = tally(truth, [segment(1, 0)], predicted, [segment(5, 0), segment(6, 1)]).official
    assert counted(counts, 0) == (1.0, 1, 0, 0)
    assert counted(counts, 1) == (0, 0, 0, 0)
    half = tally(row((1, 2), (0, 2)), [segment(1, 0)], row((6, 4)), [segment(6, 1)]).official
    assert counted(half, 1) == (0, 0, 1, 0)  # exactly one half does not excuse


def test_a_truth_with_ids_that_its_list_lacks_is_refused_as_in_training():
    with pytest.raises(ValueError, match=r"label file truth\.png has the segment ids 98, 99, which segments_info"):
        tally(row((99, 5), (1, 4), (98, 2)), [segment(1, 0)], row((5, 11)), [segment(5, 0)])


def test_a_crowd_never_matches_and_excuses_its_class():
    truth, crowd = row((1, 10)), [segment(1, 0, crowd=True)]
    assert counted(tally(truth, crowd, row((5, 10)), [segment(5, 0)]).official, 0) == (0, 0, 0, 0)
    assert counted(tally(truth, crowd, row((5, 10)), [segment(5, 1)]).official, 1) == (0, 0, 1, 0)


def test_of_two_crowds_the_official_rules_know_the_last_listed():
    truth = row((1, 10), (2, 10))
    crowds = [segment(2, 0, crowd=True), segment(1, 0, crowd=True)]
    found = row((5, 10), (6, 10)), [segment(5, 0), segment(6, 0)]
    total = tally(truth, crowds, *found)
    assert counted(total.official, 0) == (0, 0, 1, 0)
    assert counted(total.corrected, 0) == (0, 0, 0, 0)
    assert total.counts(official=True).keys() == {"panoptic_seg", "panoptic_seg_corrected"}
    on_both = tally(row((1, 5), (2, 5)), crowds, row((5, 10)), [segment(5, 0)])
    assert counted(on_both.official, 0) == (0, 0, 1, 0)  # half of it lies on the last crowd
    assert counted(on_both.corrected, 0) == (0, 0, 0, 0)


def test_annotated_areas_count_officially():
    truth, predicted = row((1, 8), (0, 2)), row((5, 8), (0, 2))
    total = tally(truth, [segment(1, 0, area=12)], predicted, [segment(5, 0)])
    assert counted(total.official, 0) == (8 / 12, 1, 0, 0)
    assert counted(total.corrected, 0) == (1.0, 1, 0, 0)
    too_small = tally(truth, [segment(1, 0, area=0)], predicted, [segment(5, 0)])
    assert counted(too_small.official, 0) == (math.inf, 1, 0, 0)  # what panopticapi's division gives
    assert total.counts(official=False) == {"panoptic_seg": total.corrected}


def test_right_areas_and_a_single_crowd_give_one_set_of_numbers():
    total = tally(
        row((1, 8), (2, 2)), [segment(1, 0, area=8), segment(2, 1, crowd=True)], row((5, 10)), [segment(5, 1)]
    )
    assert list(total.counts(official=True)) == ["panoptic_seg"]


def test_numbers_from_counts_by_hand():
    counts = PanopticCounts(4)
    counts.iou[:] = (1.5, 0.0, 0.0, 0.6)
    counts.tp[:], counts.fp[:], counts.fn[:] = (2, 0, 0, 1), (1, 1, 0, 0), (1, 0, 0, 2)
    classes = class_map(range(4), ["a", "b", "ghost", "sky"], things=[True, True, True, False])
    results = panoptic_results(counts, classes)
    assert results["PQ-a"] == pytest.approx(50)  # 1.5 / (2 + 0.5 + 0.5)
    assert results["PQ-b"] == results["PQ-ghost"] == 0
    assert results["PQ-sky"] == pytest.approx(30)  # 0.6 / (1 + 1)
    assert results["PQ_th"] == pytest.approx((50 + 0) / 2)  # the ghost stays out
    assert results["SQ_th"] == pytest.approx((75 + 0) / 2)
    assert results["RQ_th"] == pytest.approx((200 / 3 + 0) / 2)
    assert results["PQ_st"] == pytest.approx(30)
    assert results["PQ"] == pytest.approx((50 + 0 + 30) / 3)
    assert list(results)[:3] == ["PQ", "SQ", "RQ"]
    assert all(type(value) is float for value in results.values())


def test_a_group_without_classes_is_nan():
    counts = PanopticCounts(2)
    counts.fp[0] = 1
    results = panoptic_results(counts, class_map(range(2), ["a", "b"], things=[True, False]))
    assert (results["PQ"], results["PQ_th"]) == (0, 0)
    assert all(math.isnan(results[name]) for name in ("PQ_st", "SQ_st", "RQ_st"))


@pytest.mark.parametrize(
    ("segments", "match"),
    [
        ([segment(4, 9)], "Segment 4 of image 12 has the unknown category 9"),
        ([segment(4, 0), segment(4, 1)], "Segment 4 is listed twice in image 12"),
        ([segment(0, 0)], "id 0 of image 12"),
        ([segment(256**3, 0)], "id 16777216 of image 12"),
        ([segment("1", 0)], "id '1' of image 12"),
        ([segment(1.0, 0)], "id 1.0 of image 12"),
        ([segment(True, 0)], "id True of image 12"),
        ([segment(1, 1.5)], "unknown category 1.5"),
        ([segment(1, "1")], "unknown category '1'"),
        ([segment(1, [])], r"unknown category \[\]"),
        ([{}], "id None of image 12"),
        ([{"id": 1}], "unknown category None"),
    ],
)
def test_lists_that_say_nothing_sensible_are_named(segments, match):
    with pytest.raises(ValueError, match=match):
        read_segments(segments, INDEX, "image 12")


@pytest.mark.parametrize("number", [np.int64, np.uint8, torch.tensor])
def test_ids_may_be_whole_numbers_of_numpy_and_torch(number):
    segments = read_segments([segment(number(4), number(2))], INDEX, "image 12")
    assert (segments.ids.tolist(), segments.classes.tolist()) == ([4], [2])


def test_map_and_list_of_a_prediction_must_agree():
    with pytest.raises(ValueError, match="map of the prediction has segments that its list lacks: 6"):
        tally(row((1, 4)), [segment(1, 0)], row((5, 2), (6, 2)), [segment(5, 0)])
    with pytest.raises(ValueError, match="list of the prediction has segments without a pixel in its map: 6"):
        tally(row((1, 4)), [segment(1, 0)], row((5, 4)), [segment(5, 0), segment(6, 0)])
    with pytest.raises(ValueError, match="map of the prediction is \\(1, 3\\) pixels .* \\(1, 4\\)"):
        tally(row((1, 4)), [segment(1, 0)], row((5, 3)), [segment(5, 0)])


@st.composite
def images(draw):
    """A truth and a prediction of 6 x 6 pixels with up to five segments each, some of the truth's areas wrong."""
    truth, predicted = (draw(arrays(np.int64, (6, 6), elements=st.integers(0, 5))) // 2 * 2 for _ in range(2))
    classes, crowds = st.integers(0, K - 1), st.integers(0, 2).map(lambda number: number == 0)
    segments = [
        segment(n, draw(classes), crowd=draw(crowds), area=int((truth == n).sum()) + draw(st.sampled_from((0, 0, 3))))
        for n in draw(st.permutations([n for n in np.unique(truth).tolist() if n]))
    ]
    return truth, segments, predicted, [segment(n, draw(classes)) for n in np.unique(predicted).tolist() if n]


@settings(max_examples=60)
@given(image=images())
def test_official_counts_are_those_of_panopticapi_to_the_last_bit(image):
    evaluation = pytest.importorskip("panopticapi.evaluation")
    truth, segments, predicted, found = image
    with tempfile.TemporaryDirectory() as folder:
        for name, ids in (("truth.png", truth), ("predicted.png", predicted)):
            write_panoptic_ids(ids, Path(folder) / name)
        pair = [
            {"image_id": 1, "file_name": "truth.png", "segments_info": segments},
            {"image_id": 1, "file_name": "predicted.png", "segments_info": found},
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            official = evaluation.pq_compute_single_core(0, [pair], folder, folder, INDEX)
    ours = tally(truth, segments, predicted, found).official
    for index in range(K):
        theirs = official.pq_per_cat[index]
        assert counted(ours, index) == (theirs.iou, theirs.tp, theirs.fp, theirs.fn)


@given(image=images())
def test_every_segment_is_a_match_a_miss_a_false_alarm_or_excused(image):
    truth, segments, predicted, found = image
    right = [{**s, "area": int((truth == s["id"]).sum())} for s in segments]
    counts = tally(truth, right, predicted, found).corrected
    assert (counts.tp + counts.fn).sum() == sum(not s["iscrowd"] for s in segments)
    assert (counts.tp + counts.fp).sum() <= len(found)
    assert (counts.iou <= counts.tp).all()
    assert (counts.iou >= counts.tp / 2).all()


def test_files_score_the_same_with_any_number_of_processes(tmp_path):
    rng = np.random.default_rng(0)
    truth, predictions = {}, {}
    for image_id in range(12):
        true_map = rng.integers(0, 4, (1, 7)).repeat(9, axis=0)
        predicted_map = np.where(rng.random(true_map.shape) < 0.2, 1, true_map)
        for ids, files, name in zip((true_map, predicted_map), (truth, predictions), ("t", "p")):
            path = tmp_path / f"{name}{image_id}.png"
            write_panoptic_ids(ids, path)
            segments = [segment(n, n % K, area=int((ids == n).sum())) for n in np.unique(ids).tolist() if n]
            files[image_id] = TruthFile(str(path), segments)
    one, two = (score_panoptic_files(truth, predictions, INDEX, workers=workers).official for workers in (1, 2))
    assert one.tp.sum() > 0
    assert one == two
    del predictions[7], predictions[8]
    with pytest.raises(ValueError, match="2 images have no prediction, among them 7"):
        score_panoptic_files(truth, predictions, INDEX)

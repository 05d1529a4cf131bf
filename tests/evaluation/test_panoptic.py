"""The panoptic evaluator: where ground truths come from, what it writes, what it refuses, and what it keeps."""

import json
import logging
import math
import pickle

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.evaluation.panoptic import CONFUSION, COUNTS, PanopticEvaluator
from focalnet_d2.evaluation.panoptic_files import index_predicted_files, index_truth_files, score_panoptic_files
from tests.evaluation.panoptic_sets import CATEGORY_IDS, forget, prediction, register, sample_of, segment

NAME = "panoptic_test"
TRUTHS = {  # image: map, segments
    4: (np.repeat([[1, 2, 0]], 6, axis=0), [segment(1, 0), segment(2, 2)]),
    9: (np.repeat([[70000, 70000, 3, 3]], 4, axis=0), [segment(70000, 1), segment(3, 2)]),
    5: (np.zeros((3, 3), np.int64), []),
}
# Image 4: the fox is found, the sky is taken for a hen. Image 9: all is found under other ids.
OUTPUTS = {
    4: prediction(np.repeat([[1, 2, 1]], 6, axis=0), [segment(1, 0), segment(2, 1)]),
    9: prediction(np.repeat([[4, 4, 4, 6]], 4, axis=0), [segment(4, 1), segment(6, 2)]),
    5: prediction(np.zeros((3, 3)), []),
}
# Class: IoU sum, tp, fp, fn. The fox of image 4 reaches into void, which does not count.
EXPECTED = {"fox": (1.0, 1, 0, 0), "hen": (8 / 12, 1, 1, 0), "sky": (0.0, 0, 1, 2)}


@pytest.fixture
def samples(tmp_path):
    made = {image_id: sample_of(tmp_path, image_id, *truth) for image_id, truth in TRUTHS.items()}
    register(NAME, list(made.values()), tmp_path)
    yield made
    forget(NAME)


def score(evaluator, samples, outputs=OUTPUTS):
    evaluator.reset()
    for image_id, output in outputs.items():
        evaluator.process([samples[image_id]], [output])
    return evaluator.evaluate()


def counts_of(evaluator, task="panoptic_seg"):
    counts = evaluator.counts[task].to_dict(evaluator.classes.names)
    return {name: (entry["iou"], entry["tp"], entry["fp"], entry["fn"]) for name, entry in counts.items()}


def test_counts_and_percentages(samples, tmp_path):
    evaluator = PanopticEvaluator(NAME, output_dir=tmp_path / "out")
    results = score(evaluator, samples)
    assert results.keys() == {"panoptic_seg"}
    assert counts_of(evaluator) == EXPECTED
    numbers = results["panoptic_seg"]
    assert numbers["PQ-fox"] == 100
    assert numbers["PQ-hen"] == pytest.approx(100 * (8 / 12) / 1.5)
    assert numbers["PQ"] == pytest.approx((100 + numbers["PQ-hen"]) / 3)
    assert numbers["PQ_st"] == numbers["SQ_st"] == 0
    written = json.loads((tmp_path / "out" / COUNTS).read_text())
    assert written["panoptic_seg"]["hen"] == {"iou": 8 / 12, "tp": 1, "fp": 1, "fn": 0}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [CONFUSION, COUNTS, "panoptic_examples.json"]


@pytest.mark.parametrize("missing", ["pan_seg_file_name", "segments_info"])
def test_the_panoptic_json_is_used_where_the_input_has_no_ground_truth(samples, missing):
    bare = {key: {k: v for k, v in sample.items() if k != missing} for key, sample in samples.items()}
    evaluator = PanopticEvaluator(NAME)
    score(evaluator, bare)
    assert counts_of(evaluator) == EXPECTED
    with pytest.raises(ValueError, match="no image 77"):
        evaluator.process([{"image_id": 77, "file_name": "77.jpg"}], [OUTPUTS[5]])
    del MetadataCatalog.get(NAME).panoptic_json
    with pytest.raises(ValueError, match="Image 4 comes without pan_seg_file_name .* has no panoptic_json"):
        score(PanopticEvaluator(NAME), bare)


def test_batches_and_arrays_are_as_good_as_single_tensors(samples):
    outputs = [{"panoptic_seg": (ids.numpy(), infos)} for ids, infos in (OUTPUTS[i]["panoptic_seg"] for i in samples)]
    evaluator = PanopticEvaluator(NAME)
    evaluator.process(list(samples.values()), outputs)
    evaluator.evaluate()
    assert counts_of(evaluator) == EXPECTED


def test_wrong_areas_are_reported_once_and_give_a_second_set_of_numbers(samples, caplog, tmp_path):
    for image_id in (4, 9):
        for info in samples[image_id]["segments_info"]:
            info["area"] *= 2
    evaluator = PanopticEvaluator(NAME, output_dir=tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        results = score(evaluator, samples)
    assert results.keys() == {"panoptic_seg", "panoptic_seg_corrected"}
    assert counts_of(evaluator, "panoptic_seg_corrected") == EXPECTED
    assert counts_of(evaluator)["fox"] == (0, 0, 1, 1)  # 6 pixels found of 12 that are claimed
    assert results["panoptic_seg"]["PQ"] < results["panoptic_seg_corrected"]["PQ"]
    (record,) = caplog.records
    assert "4 segments in 2 ground-truth files have an annotated area" in record.getMessage()
    assert samples[4]["pan_seg_file_name"] in record.getMessage()
    assert json.loads((tmp_path / "out" / COUNTS).read_text()).keys() == results.keys()
    only = PanopticEvaluator(NAME, official=False)
    assert score(only, samples) == {"panoptic_seg": results["panoptic_seg_corrected"]}


def test_a_submission_can_be_scored_from_disk(samples, tmp_path):
    evaluator = PanopticEvaluator(NAME, output_dir=tmp_path / "out", write_submission=True)
    score(evaluator, samples)
    content = json.loads((tmp_path / "out" / "panoptic_predictions.json").read_text())
    assert [entry["image_id"] for entry in content["annotations"]] == list(OUTPUTS)
    first = content["annotations"][0]
    assert first["file_name"] == "4.png"
    assert first["segments_info"] == [{"id": 1, "category_id": 7}, {"id": 2, "category_id": 3}]
    written = read_panoptic_ids(tmp_path / "out" / "panoptic_predictions" / "4.png")
    np.testing.assert_array_equal(written, OUTPUTS[4]["panoptic_seg"][0].numpy())
    files = (
        index_truth_files(tmp_path / "panoptic.json"),
        index_predicted_files(tmp_path / "out/panoptic_predictions.json"),
    )
    from_disk = score_panoptic_files(*files, {category: index for index, category in enumerate(CATEGORY_IDS)})
    assert from_disk.official == evaluator.counts["panoptic_seg"]


def test_two_images_of_one_name_are_no_submission(samples, tmp_path):
    evaluator = PanopticEvaluator(NAME, output_dir=tmp_path, write_submission=True)
    evaluator.process([samples[4]], [OUTPUTS[4]])
    with pytest.raises(ValueError, match="called 4.png"):
        evaluator.process([samples[9] | {"file_name": "others/4.jpg"}], [OUTPUTS[9]])
    with pytest.raises(ValueError, match="write_submission"):
        PanopticEvaluator(NAME, write_submission=True)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        (prediction(np.ones((6, 3)), []), "for image 4 has segments that its list lacks: 1"),
        (prediction(np.zeros((6, 3)), [segment(8, 0)]), "for image 4 has segments without a pixel in its map: 8"),
        (prediction(np.zeros((5, 3)), []), "for image 4 is \\(5, 3\\) pixels"),
        ({"panoptic_seg": (torch.zeros(6, 3), [])}, "for image 4 must be integers"),
        ({"panoptic_seg": (torch.zeros(6, 3, dtype=torch.int32), None)}, "for image 4 is None"),
        (
            {"panoptic_seg": (torch.ones(6, 3, dtype=torch.int32), [{"id": 1, "category_id": 3}])},
            "Segment 1 of the prediction for image 4 has the unknown category 3",
        ),
    ],
)
def test_predictions_that_cannot_be_scored_are_named(samples, output, match):
    with pytest.raises(ValueError, match=match):
        PanopticEvaluator(NAME).process([samples[4]], [output])


def test_a_repeated_image_counts_once(samples, caplog):
    evaluator = PanopticEvaluator(NAME)
    for image_id in (4, 9, 4, 5, 9):
        evaluator.process([samples[image_id]], [OUTPUTS[image_id]])
    evaluator.evaluate()
    assert counts_of(evaluator) == EXPECTED
    assert "Image 4 came twice" in caplog.text


def test_without_images_nothing_is_defined(samples, caplog):
    results = score(PanopticEvaluator(NAME), samples, {})["panoptic_seg"]
    assert math.isnan(results["PQ"])
    assert "Not a single image" in caplog.text
    results = score(PanopticEvaluator(NAME), samples, {5: OUTPUTS[5]})["panoptic_seg"]
    assert math.isnan(results["PQ_th"])


def test_what_is_kept_grows_by_the_ids_alone(samples):
    evaluator = PanopticEvaluator(NAME)

    def kept(first, last):
        for image_id in range(first, last):
            evaluator.process([samples[9] | {"image_id": image_id}], [OUTPUTS[9]])
        return len(pickle.dumps(evaluator))

    start, one, two = kept(1000, 1050), kept(1050, 1100), kept(1100, 1300)
    assert two - one < 200 * 6  # an id and no more
    assert one - start < 50 * 6


def test_evaluating_twice_changes_nothing_and_reset_forgets(samples):
    evaluator = PanopticEvaluator(NAME)
    first = score(evaluator, samples)
    assert evaluator.evaluate() == first
    assert counts_of(evaluator) == EXPECTED
    assert score(evaluator, samples) == first


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"stuff_classes": None}, "no stuff_classes"),
        ({"stuff_dataset_id_to_contiguous_id": None}, "not registered as a panoptic"),
        ({"stuff_classes": ["sky"]}, "one list for things and stuff"),
    ],
)
def test_metadata_of_other_kinds_are_refused(change, match):
    metadata = MetadataCatalog.get("panoptic_test_metadata")
    complete = {
        "stuff_classes": ["fox", "sky"],
        "thing_dataset_id_to_contiguous_id": {1: 0},
        "stuff_dataset_id_to_contiguous_id": {1: 0, 2: 1},
    }
    metadata.set(**{key: value for key, value in (complete | change).items() if value is not None})
    try:
        with pytest.raises(ValueError, match=match):
            PanopticEvaluator("panoptic_test_metadata")
    finally:
        MetadataCatalog.remove("panoptic_test_metadata")


def test_metadata_that_come_with_the_data_are_loaded(tmp_path):
    def load():
        register("panoptic_test_source", [], tmp_path)
        source = MetadataCatalog.get("panoptic_test_source").as_dict()
        MetadataCatalog.get("panoptic_test_lazy").set(**{k: v for k, v in source.items() if k != "name"})
        return []

    DatasetCatalog.register("panoptic_test_lazy", load)
    try:
        assert PanopticEvaluator("panoptic_test_lazy").classes.names == ["fox", "hen", "sky"]
    finally:
        forget("panoptic_test_lazy")
        forget("panoptic_test_source")

"""Average precision by every installed backend: hand-made cases, the official tool, files that cannot be scored."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.evaluation import coco_backends
from focalnet_d2.evaluation.average_precision import average_precision, score_results_file
from focalnet_d2.evaluation.coco_backends import BACKENDS, find_backend
from focalnet_d2.evaluation.coco_files import Detections, read_ground_truth, read_results
from tests.evaluation.coco_sets import STATS, official, official_counts, random_set, rectangle

INSTALLED = [
    pytest.param(name, marks=pytest.mark.skipif(not backend.installed, reason=f"{name} is not installed"))
    for name, backend in BACKENDS.items()
]
each_backend = pytest.mark.parametrize("backend", INSTALLED)
each_type = pytest.mark.parametrize("iou_type", ["bbox", "segm"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("average_precision")


def score(folder, truth, results, iou_type="bbox", backend="pycocotools", max_dets=100):
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    annotations = read_ground_truth(folder / "truth.json")
    detections = read_results(folder / "results.json", annotations, iou_type)
    return average_precision(annotations, detections, iou_type, backend=find_backend(backend), max_dets=max_dets)


def one_class(objects, crowds=(), image=1):
    """A data set of one image with 40 pixel squares at these places (x, y)."""
    return {
        "images": [{"id": image, "height": 120, "width": 160}],
        "categories": [{"id": 1, "name": "fox"}],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": 1,
                "bbox": [x, y, 40, 40],
                "area": 1600,
                "iscrowd": int(number > len(objects)),
                "segmentation": rectangle([x, y, 40, 40]),
            }
            for number, (x, y) in enumerate([*objects, *crowds], 1)
        ],
    }


def found(places, scores, image=1):
    return [
        {
            "image_id": image,
            "category_id": 1,
            "bbox": [x, y, 40.0, 40.0],
            "score": score,
            "segmentation": rectangle([x, y, 40, 40]),
        }
        for (x, y), score in zip(places, scores)
    ]


@each_backend
@each_type
def test_hand_computed(folder, backend, iou_type):
    """Right, wrong, right; one object is missed: precision 1 up to recall 1/3 and 2/3 up to recall 2/3."""
    truth = one_class([(0, 0), (60, 0), (110, 70)])
    scores = score(folder, truth, found([(0, 0), (0, 70), (60, 0)], [0.9, 0.8, 0.7]), iou_type, backend)
    expected = (34 * 1 + 33 * 2 / 3) / 101  # recalls 0, 0.01, ..., 0.33 and 0.34, ..., 0.66
    for name in ("AP", "AP50", "AP75", "APm"):
        assert scores.summary[name] == pytest.approx(expected, abs=1e-12), name
    assert math.isnan(scores.summary["APs"])
    assert scores.summary["AR1"] == pytest.approx(1 / 3)
    assert scores.summary["AR100"] == pytest.approx(2 / 3)
    assert scores.counts == {"fox": {"tp": 2, "fp": 1, "fn": 1}}
    assert scores.per_class == {"fox": pytest.approx(expected)}


@each_backend
@each_type
def test_what_a_crowd_covers_is_neither_right_nor_wrong(folder, backend, iou_type):
    truth = one_class([(0, 0)], crowds=[(60, 60)])
    results = found([(0, 0), (60, 60), (62, 62), (110, 0)], [0.9, 0.8, 0.7, 0.6])
    scores = score(folder, truth, results, iou_type, backend)
    assert scores.counts == {"fox": {"tp": 1, "fp": 1, "fn": 0}}
    assert scores.summary["AP"] == pytest.approx(1)


@each_backend
@each_type
@settings(max_examples=12)
@given(seed=st.integers(0, 10**6))
def test_random_sets_score_as_with_the_official_tool(folder, backend, iou_type, seed):
    truth, results = random_set(np.random.RandomState(seed))
    scores = score(folder, truth, results, iou_type, backend)
    evaluation = official(truth, results, iou_type)
    for name, expected in zip(STATS, evaluation.stats):
        assert scores.summary[name] == pytest.approx(expected if expected > -1 else math.nan, abs=1e-12, nan_ok=True)
    counts = {f"class {category}": count for category, count in official_counts(evaluation).items()}
    assert scores.counts == counts


@each_backend
@each_type
def test_ids_of_any_kind_give_the_same_numbers(folder, backend, iou_type):
    """Strings, 0 and shared annotation ids, in an order of the file that is not that of the ids."""
    truth, results = random_set(np.random.RandomState(4))
    expected = score(folder, truth, results, iou_type, backend)
    images = {image["id"]: f"ADE_val_{image['id']:08d}" for image in truth["images"]}
    categories = {category["id"]: index for index, category in enumerate(truth["categories"])}

    def renamed(entry):
        ids = {"image_id": images[entry["image_id"]], "category_id": categories[entry["category_id"]]}
        return entry | ids | ({"id": 0} if "id" in entry else {})

    other = {
        "images": [image | {"id": images[image["id"]]} for image in reversed(truth["images"])],
        "categories": [entry | {"id": categories[entry["id"]]} for entry in reversed(truth["categories"])],
        "annotations": [renamed(entry) for entry in truth["annotations"]],
    }
    assert expected.summary["AP"] > 0
    numbers = score(folder, other, [renamed(entry) for entry in results], iou_type, backend)
    assert str(numbers) == str(expected)


@each_backend
def test_limits_other_than_100(folder, backend):
    truth, results = random_set(np.random.RandomState(5), image_ids=(1, 2), category_ids=(1, 2))
    results = [result | {"score": 0.9 - index / 10_000} for index, result in enumerate(results * 12)]
    expected = official(truth, results, "bbox", max_dets=200)
    scores = score(folder, truth, results, backend=backend, max_dets=200)
    assert scores.summary["AR200"] == pytest.approx(expected.stats[8])
    assert scores.summary["AP75"] == pytest.approx(expected.stats[2], abs=1e-12)
    assert {f"class {key}": count for key, count in official_counts(expected).items()} == scores.counts


@each_backend
def test_a_limit_of_ten_or_fewer_holds_for_every_number(folder, backend):
    places = [(40 * column, 40 * row) for row in range(3) for column in range(4)]
    truth, results = one_class(places), found(places, np.linspace(0.9, 0.5, 12).tolist())
    five = score(folder, truth, results, backend=backend, max_dets=5)
    assert five.summary["AP"] == five.summary["AP50"] == pytest.approx(42 / 101)  # recall up to 5 of 12
    assert five.summary["AR5"] == five.summary["ARm"] == pytest.approx(5 / 12)
    assert five.summary["AR10"] == pytest.approx(10 / 12)
    assert five.counts == {"fox": {"tp": 5, "fp": 0, "fn": 7}}
    assert score(folder, truth, results, backend=backend, max_dets=10).summary["AR10"] == pytest.approx(10 / 12)


@each_backend
@each_type
def test_nothing_found_scores_zero_and_nothing_to_find_is_not_defined(folder, backend, iou_type):
    truth = one_class([(0, 0)])
    scores = score(folder, truth, [], iou_type, backend)
    assert scores.summary["AP"] == scores.summary["AR100"] == 0
    assert scores.counts == {"fox": {"tp": 0, "fp": 0, "fn": 1}}
    truth["images"] += one_class([], image=2)["images"]
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(found([(0, 0)], [0.5], image=2)))
    whole = read_ground_truth(folder / "truth.json")
    detections = read_results(folder / "results.json", whole, iou_type)
    scores = average_precision(whole.restricted_to({2}), detections, iou_type, backend=find_backend(backend))
    assert all(map(math.isnan, scores.summary.values()))
    assert scores.counts == {"fox": {"tp": 0, "fp": 1, "fn": 0}}


@each_backend
def test_some_images_of_a_set_score_as_a_set_of_these_images(folder, backend):
    truth, results = random_set(np.random.RandomState(6))
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    whole = read_ground_truth(folder / "truth.json")
    detections = read_results(folder / "results.json", whole, "bbox")
    part = average_precision(whole.restricted_to({11, 20}), detections, "bbox", backend=find_backend(backend))

    cut = truth | {"images": [image for image in truth["images"] if image["id"] in (11, 20)]}
    results = [result for result in results if result["image_id"] in (11, 20)]
    assert str(part) == str(score(folder, cut, results, backend=backend))
    assert len(detections) > len(results)


def test_masks_are_sized_by_themselves_and_not_by_boxes_beside_them(folder):
    """40 x 40 pixels are medium; a box of 5 x 5 would make the wrong detection small and leave it out."""
    results = found([(0, 0), (0, 70)], [0.5, 0.9])
    results[1]["bbox"] = [0, 70, 5, 5]
    scores = score(folder, one_class([(0, 0)]), results, "segm")
    assert scores.summary["APm"] == pytest.approx(0.5)


def test_results_of_unknown_categories_do_not_count(folder, caplog):
    truth, results = one_class([(0, 0)]), found([(0, 0), (60, 0)], [0.5, 0.9])
    results[1]["category_id"] = 77
    assert score(folder, truth, results).counts == {"fox": {"tp": 1, "fp": 0, "fn": 0}}
    assert "1 detections are of categories" in caplog.text


def test_classes_that_share_a_name_keep_their_numbers(folder):
    truth = one_class([(0, 0)])
    truth["categories"] = [{"id": 1, "name": "screen"}, {"id": 2, "name": "screen"}, {"id": 3}]
    assert list(score(folder, truth, []).counts) == ["screen (1)", "screen (2)", "3"]


def test_scoring_files(folder):
    truth, results = random_set(np.random.RandomState(7))
    expected = score(folder, truth, results, "segm", max_dets=50)
    files = folder / "truth.json", folder / "results.json"
    percent = score_results_file(*files, "segm", backend="auto", max_dets=50, output_dir=folder / "out")["segm"]
    assert percent["AP"] == pytest.approx(100 * expected.summary["AP"], abs=1e-10)
    assert percent["AR50"] > 0
    assert percent["AP-class 5"] == pytest.approx(100 * expected.per_class["class 5"], abs=1e-10)
    written = json.loads((folder / "out" / "segm_counts.json").read_text())
    assert written == {"iou_threshold": 0.5, "max_dets": 50, "classes": expected.counts}
    with pytest.raises(ValueError, match=r"keypoints.*bbox, segm"):
        score_results_file(*files, "keypoints")


ODD = {
    "bbox": st.sampled_from([[0, 0, 0, 0], [9, 9, -3, 4], [200, 5, 9, 9], [-5, -5, 30, 30], [100, 100, 300, 300]]),
    "iscrowd": st.sampled_from([None, 0, 1]),
    "ignore": st.sampled_from([None, 0, 1]),
    "id": st.sampled_from([None, 0, 1]),
    "area": st.sampled_from([None, 0, 2000.5]),
}


@each_type
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), odd=st.lists(st.fixed_dictionaries({}, optional=ODD), min_size=1, max_size=4))
def test_all_backends_agree_on_odd_files(folder, iou_type, seed, odd):
    truth, results = random_set(np.random.RandomState(seed))
    truth["annotations"][0] |= {"iscrowd": 0}
    for annotation, change in zip(truth["annotations"][1:], odd):
        annotation |= change
    installed = [name for name, backend in BACKENDS.items() if backend.installed]
    first, *others = [score(folder, truth, results, iou_type, name) for name in installed]
    for other in others:
        assert list(other.summary.values()) == pytest.approx(list(first.summary.values()), abs=1e-12, nan_ok=True)
        assert other.counts == first.counts


def without(entries, key):
    return [{name: value for name, value in entry.items() if name != key} for entry in entries]


TRUTH, RESULTS = one_class([(0, 0)]), found([(0, 0)], [0.5])


@pytest.mark.parametrize(
    ("truth", "results", "iou_type", "message"),
    [
        ("{", RESULTS, "bbox", r"truth\.json is not valid JSON"),
        ([], RESULTS, "bbox", r"truth\.json has no images and no categories"),
        (without([TRUTH], "annotations")[0], RESULTS, "bbox", "COCO's server"),
        (TRUTH | {"annotations": without(TRUTH["annotations"], "segmentation")}, RESULTS, "segm", "no segmentation"),
        (TRUTH | {"images": without(TRUTH["images"], "height")}, RESULTS, "segm", "height or width"),
        (TRUTH | {"annotations": []}, RESULTS, "bbox", r"truth\.json: annotations are none.* nothing is left to find"),
        (TRUTH, {"results": RESULTS}, "bbox", r"results\.json is not a list"),
        (TRUTH, RESULTS + without(RESULTS, "score"), "bbox", r"Entry 1 of .*score"),
        (TRUTH, without(RESULTS, "segmentation"), "segm", r"Entry 0 .*segmentation"),
        (TRUTH, found([(0, 0)], [0.5], image=8), "bbox", r"image 8, which .*truth\.json does not list"),
        (TRUTH, [RESULTS[0] | {"bbox": [0, 0, 5, math.nan]}], "bbox", r"not finite, the first in image 1"),
        (TRUTH, [RESULTS[0] | {"bbox": [9, 9, -5, 4]}], "bbox", r"negative width or height.*, the first in image 1"),
        (TRUTH, [RESULTS[0] | {"score": math.inf}], "segm", "not finite"),
        (TRUTH, [*found([(0, 0)], [0]), RESULTS[0] | {"score": True}], "segm", r"results\.json .* score is none: True"),
        (
            TRUTH,
            [RESULTS[0] | {"bbox": [0, 0.5, True, 4]}],
            "bbox",
            r"box of four numbers is none: \[0, 0.5, True, 4\]",
        ),
        (TRUTH, [RESULTS[0] | {"segmentation": [[0, 0, 9, 0, 9, 9]]}], "segm", "image 1 is not compressed RLE"),
        (TRUTH, [RESULTS[0] | {"segmentation": {"size": [9, 9], "counts": "Q3"}}], "segm", r"\(9, 9\).*\(120, 160\)"),
    ],
)
def test_files_that_cannot_be_scored(tmp_path, truth, results, iou_type, message):
    (tmp_path / "truth.json").write_text(truth if isinstance(truth, str) else json.dumps(truth))
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=message):
        score_results_file(tmp_path / "truth.json", tmp_path / "results.json", iou_type)


@pytest.mark.parametrize("max_dets", [0, -1, 2.5, True, "100", None])
def test_a_number_of_detections_that_cannot_count_is_refused(folder, max_dets):
    with pytest.raises(ValueError, match=r"max_dets=.* must be a whole number of at least 1"):
        score(folder, TRUTH, RESULTS, max_dets=max_dets)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        score_results_file(tmp_path / "absent.json", tmp_path / "results.json", "bbox")


def test_choice_of_backends(monkeypatch):
    present = {"pycocotools", "faster_coco_eval"}
    monkeypatch.setattr(coco_backends, "find_spec", lambda name: name if name in present else None)
    assert find_backend("pycocotools").package == "pycocotools"
    assert find_backend("auto").package == "faster-coco-eval"
    present.add("hotcoco")
    assert find_backend("auto").package == "hotcoco"
    present.clear()
    with pytest.raises(ValueError, match="pip install faster-coco-eval"):
        find_backend("faster-coco-eval")
    with pytest.raises(ValueError, match=r"fastest.*auto, hotcoco, faster-coco-eval, pycocotools"):
        find_backend("fastest")


def test_detections_are_chosen_row_by_row():
    detections = Detections(
        np.array([1, 2]), np.array([1, 1]), np.array([0.5, 0.25]), np.arange(8.0).reshape(2, 4), [{"a": 1}, {"a": 2}]
    )
    chosen = detections[np.array([False, True])]
    assert (len(chosen), chosen.scores.tolist(), chosen.masks) == (1, [0.25], [{"a": 2}])
    assert chosen.as_results("bbox") == [{"image_id": 2, "category_id": 1, "score": 0.25, "bbox": [4, 5, 6, 7]}]

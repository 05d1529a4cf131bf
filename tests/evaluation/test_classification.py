"""Top-1 and top-5: hand-counted scores, ties, ranks, and what is refused."""

import json
import math

import pytest
import torch
from detectron2.utils import comm
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.data.datasets import register_image_folder
from focalnet_d2.evaluation.classification import COUNTS, ClassificationEvaluator, place_of_class
from tests.data.image_folder import make_image_folder
from tests.evaluation.panoptic_sets import forget
from tests.evaluation.test_panoptic_ranks import Ranks

NAME = "classification_test"


@pytest.fixture
def evaluator(tmp_path):
    def build(classes=7, **options) -> ClassificationEvaluator:
        register_image_folder(NAME, make_image_folder(tmp_path / "images", {f"c{i:02d}": 1 for i in range(classes)}))
        return ClassificationEvaluator(NAME, **options)

    yield build
    forget(NAME)


def add(evaluator, *scores_and_class, first_id=0):
    samples = [{"image_id": first_id + i, "class_id": c} for i, (_, c) in enumerate(scores_and_class)]
    evaluator.process(samples, [{"scores": torch.tensor(scores)} for scores, _ in scores_and_class])


DESCENDING = [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


def test_hand_counted_places(evaluator, tmp_path):
    scorer = evaluator(output_dir=tmp_path / "out")
    add(scorer, (DESCENDING, 0), (DESCENDING, 0), (DESCENDING, 4), (DESCENDING, 5))
    assert scorer.evaluate() == {"classification": {"top1": 50.0, "top5": 75.0}}
    assert scorer.counts.tolist() == [[2, 2, 2], *[[0, 0, 0]] * 3, [1, 0, 1], [1, 0, 0], [0, 0, 0]]
    written = json.loads((tmp_path / "out" / COUNTS).read_text())
    assert written["columns"] == ["images", "top1", "top5"]
    assert written["classes"][5] == "c05"
    assert written["counts"] == scorer.counts.tolist()


def test_with_up_to_five_classes_top5_is_always_right(evaluator):
    scorer = evaluator(classes=3)
    add(scorer, ([3.0, 2.0, 1.0], 2), ([3.0, 2.0, 1.0], 0))
    assert scorer.evaluate()["classification"] == {"top1": 50.0, "top5": 100.0}


def test_of_equal_scores_the_first_class_is_the_better_one():
    scores = torch.tensor([1.0, 2.0, 2.0, 0.0, 2.0])
    assert [place_of_class(scores, class_id) for class_id in range(5)] == [3, 0, 1, 4, 2]


def test_a_broken_model_gets_nothing_right():
    nan = float("nan")
    assert place_of_class(torch.full((8,), nan), 0) == 8
    assert place_of_class(torch.tensor([nan, 1.0, 0.0]), 1) == 1


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_places_are_those_of_a_stable_sort(values):
    order = sorted(range(len(values)), key=lambda index: -values[index])
    scores = torch.tensor(values, dtype=torch.float32)
    assert [place_of_class(scores, class_id) for class_id in order] == list(range(len(values)))


def test_only_the_first_classes_compete(evaluator):
    scorer = evaluator(classes=3, first_classes=3)
    add(scorer, ([1.0, 3.0, 2.0, 9.0, 8.0], 1))
    assert scorer.evaluate()["classification"]["top1"] == 100.0


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, 2.0, 3.0, 4.0], r"4 scores for the 3 classes of .*model\.num_classes=3, or .*first_classes=3"),
        ([1.0, 2.0], r"2 scores for the 3 classes of .*: set model\.num_classes=3$"),
    ],
)
def test_another_number_of_classes_is_refused(evaluator, scores, message):
    with pytest.raises(ValueError, match=message):
        add(evaluator(classes=3), (scores, 0))


def test_a_second_prediction_does_not_count_and_reset_forgets(evaluator):
    scorer = evaluator()
    add(scorer, (DESCENDING, 0))
    add(scorer, (DESCENDING, 6))
    assert scorer.evaluate()["classification"]["top1"] == 100.0
    scorer.reset()
    assert math.isnan(scorer.evaluate()["classification"]["top1"])


def test_an_unknown_data_set_is_named():
    with pytest.raises(ValueError, match="No data set is registered as 'imagenet_vall'.*imagenet_val"):
        ClassificationEvaluator("imagenet_vall")


def test_ranks_count_each_image_once(evaluator, monkeypatch):
    """The second process repeats an image of the first, as padding samplers do."""
    scorers, ranks = [evaluator(), ClassificationEvaluator(NAME)], Ranks(2)
    for name in ("all_gather", "gather", "get_rank", "is_main_process"):
        monkeypatch.setattr(comm, name, getattr(ranks, name))
    add(scorers[0], (DESCENDING, 0), (DESCENDING, 5))
    add(scorers[1], (DESCENDING, 5), (DESCENDING, 1), first_id=1)
    first, second = ranks.run(ClassificationEvaluator.evaluate, scorers)
    assert second == {}
    assert first["classification"] == pytest.approx({"top1": 100 / 3, "top5": 200 / 3})
    assert scorers[0].counts.sum(0).tolist() == [3, 1, 2]


def test_metrics_are_named_before_anything_is_scored(evaluator):
    one = evaluator()
    assert one.metric_names() == [f"{task}/{name}" for task, numbers in one.evaluate().items() for name in numbers]

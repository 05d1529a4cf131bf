"""Panoptic and semantic evaluators on several processes: each image counts once, whatever the shares are."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from detectron2.utils import comm

from focalnet_d2.evaluation.deduplication import ImageDeduplicator, find_repeated, merge_by_image
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.evaluation.semantic import SemanticEvaluator
from tests.evaluation.panoptic_sets import forget, prediction, register, sample_of, segment

NAME = "ranks_test"
SEGMENTS = [segment(1, 0), segment(2, 2)]


def write(folder, image_id):
    """Image and output: the first 20 * image_id pixels are sky in truth, a tenth fewer are predicted as such."""
    truth = np.ones((10, 10), np.int64)
    predicted = truth.copy()
    truth.reshape(-1)[: 20 * image_id] = predicted.reshape(-1)[: 18 * image_id] = 2
    output = prediction(predicted, SEGMENTS) | {"sem_seg": torch.from_numpy((predicted - 1) * 2)}
    return sample_of(folder, image_id, truth, SEGMENTS), output


class Ranks:
    """Processes played by threads: `run` starts them, the methods stand in for those of Detectron2's `comm`.

    Every meeting has its own barrier, so that a process that fails stops those that wait for it at the next one, and
    not those that are just leaving the last one.
    """

    def __init__(self, count, meetings=20):
        self.barriers = [
            threading.Barrier(count, timeout=30) for _ in range(meetings)
        ]  # seconds, for a test that fails
        self.sent = [None] * count
        self.local = threading.local()

    def run(self, function, arguments):
        """What the function returns in each process; raises the first error that is a cause."""
        with ThreadPoolExecutor(len(arguments)) as threads:
            played = [threads.submit(self.play, rank, function, argument) for rank, argument in enumerate(arguments)]
        errors = [process.exception() for process in played]
        for error in sorted(filter(None, errors), key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [process.result() for process in played]

    def play(self, rank, function, argument):
        self.local.rank, self.local.meetings = rank, iter(self.barriers)
        try:
            return function(argument)
        except BaseException:
            next(self.local.meetings).abort()
            raise

    def all_gather(self, data):
        self.sent[self.get_rank()] = pickle.dumps(data)
        next(self.local.meetings).wait()
        received = [pickle.loads(content) for content in self.sent]
        next(self.local.meetings).wait()
        return received

    def gather(self, data, dst=0):
        received = self.all_gather(data)
        return received if self.get_rank() == dst else []

    def get_rank(self):
        return self.local.rank

    def is_main_process(self):
        return self.get_rank() == 0


@pytest.fixture
def images(tmp_path):
    pairs = {image_id: write(tmp_path, image_id) for image_id in (1, 2, 3)}
    register(NAME, [sample for sample, _ in pairs.values()], tmp_path)
    yield pairs
    forget(NAME)


def evaluate(evaluators, images, monkeypatch, shares):
    """Results of each process, which has one evaluator and a share of the images."""
    ranks = Ranks(len(shares))
    for name in ("all_gather", "gather", "get_rank", "is_main_process"):
        monkeypatch.setattr(comm, name, getattr(ranks, name))

    def score(evaluator_and_share):
        evaluator, share = evaluator_and_share
        for image_id in share:
            sample, output = images[image_id]
            evaluator.process([sample], [output])
        return evaluator.evaluate()

    return ranks.run(score, list(zip(evaluators, shares)))


SHARES = {
    "shorter": ([1, 2], [3]),
    "filled up": ([1, 2], [3, 1]),
    "filled up with one's own": ([1, 2], [3, 3]),
    "nothing": ([1, 2, 3], []),
    "three": ([1], [2], [3, 2, 1]),
}


@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
@pytest.mark.parametrize("cls", [PanopticEvaluator, SemanticEvaluator])
def test_every_image_counts_once(images, monkeypatch, tmp_path, cls, shares):
    def make(count, name):
        return [cls(NAME, output_dir=tmp_path / name, write_submission=True) for _ in range(count)]

    (alone,) = evaluate(make(1, "one"), images, monkeypatch, ([1, 2, 3],))
    first, *others = evaluate(make(len(shares), "several"), images, monkeypatch, shares)
    assert all(other == {} for other in others)
    assert first.keys() == alone.keys()
    for task, numbers in alone.items():
        assert first[task] == pytest.approx(numbers, rel=1e-15, abs=0, nan_ok=True)
    written = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.json"))
    names = {path.name for path in written}
    assert {f"{cls.examples_task}_examples.json", f"{cls.examples_task}_predictions.json"} < names
    for file in written:
        one, several = ((tmp_path / name / file).read_text() for name in ("one", "several"))
        assert several == one


def test_an_image_repeated_early_is_an_error_everywhere(images, monkeypatch):
    many = {image_id: images[1 + image_id % 3] for image_id in range(40)}
    many = {image_id: (sample | {"image_id": image_id}, output) for image_id, (sample, output) in many.items()}
    with pytest.raises(ValueError, match="1 images were scored by more than one process, among them 7"):
        evaluate([PanopticEvaluator(NAME) for _ in range(2)], many, monkeypatch, (range(10), [7, *range(10, 40)]))


@pytest.mark.parametrize("guilty", [0, 1, 2])
def test_the_error_of_one_process_is_not_hidden_by_those_that_wait_for_it(guilty):
    def function(rank):
        if rank == guilty:
            raise KeyError("cause")
        return ranks.all_gather(rank)

    ranks = Ranks(3)
    assert ranks.run(ranks.all_gather, range(3)) == [[0, 1, 2]] * 3
    with pytest.raises(KeyError, match="cause"):
        ranks.run(function, range(3))


def test_an_image_belongs_to_the_first_process_that_has_it():
    assert find_repeated([({1, 2}, [2]), ({3, 1}, [3, 1]), ({1, 4}, [1])]) == (4, [set(), {1}, {1}])
    assert find_repeated([(set(), [])]) == (0, [set()])


def test_shares_are_joined_in_the_order_of_the_processes():
    assert list(merge_by_image([{"b": 1, "a": 2}, {"c": 3, "b": 4}]).items()) == [("b", 1), ("a", 2), ("c", 3)]


def test_images_repeated_before_the_end_are_an_error():
    with pytest.raises(ValueError, match="2 images were scored by more than one process, among them 5"):
        find_repeated([({5, 6, 7}, [7]), ({5, 6, 8}, [8])])


def test_the_last_scores_wait():
    images = ImageDeduplicator(waiting=2)
    assert [images.add(image_id, image_id * 10) for image_id in range(5)] == [[], [], [0], [10], [20]]
    assert not images.is_new(0)
    assert images.is_new(5)
    assert images.settle() == (5, [30, 40])

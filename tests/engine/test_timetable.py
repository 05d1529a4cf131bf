"""Epochs as iterations, by the stream of samples; warm-ups of one's own."""

import itertools
import logging
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig

from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from focalnet_d2.data.loader import SampleStream
from focalnet_d2.engine.timetable import Timetable, build_schedule, is_due, make_timetable

DINO, RCNN, CLASSIFIER = (
    "dino_focalnet_mini_quickstart",
    "mask_rcnn_focalnet_tiny_srf_1x",
    "classifier_focalnet_tiny_srf",
)


def recipe(*overrides: str, name: str = DINO) -> DictConfig:
    return apply_overrides(load_recipe(name), overrides)


def timetable(images: int, *overrides: str, **options) -> Timetable:
    return make_timetable(recipe(*overrides, **options), images)


@given(images=st.integers(1, 60), per_rank=st.integers(1, 9), ranks=st.integers(1, 3), epochs=st.integers(1, 4))
def test_an_epoch_is_due_with_the_iteration_that_shows_the_last_of_its_images(images, per_rank, ranks, epochs):
    """In the stream itself, on any number of processes."""
    batch = per_rank * ranks
    period = Fraction(images, batch)
    length = math.ceil(epochs * period)
    streams = [
        SampleStream(images, total_batch_size=batch, seed=0, rank=rank, world_size=ranks) for rank in range(ranks)
    ]
    seen: list[int] = []
    ends = []
    for done, parts in enumerate(itertools.islice(zip(*streams), length), 1):
        before = len(seen) // images
        seen += [index for part in parts for _, index in part]
        if len(seen) // images > before:
            ends.append(done)
    assert [done for done in range(1, length + 1) if is_due(done, period)] == ends
    assert ends[-1] == length
    assert min(map(seen.count, range(images))) >= epochs
    assert len(seen) < epochs * images + batch


@given(done=st.integers(1, 10**6), period=st.integers(1, 1000))
def test_whole_periods_are_due_as_ever(done, period):
    assert is_due(done, period) == (done % period == 0)
    assert not is_due(done, 0)


@pytest.mark.parametrize(
    ("epochs", "images", "batch", "iterations"),
    [(20, 61, 4, 305), (20, 64, 4, 320), (20, 5, 16, 7), ("0.1", 1000, 10, 10), (1, 1, 64, 1), ("1e-3", 5, 16, 1)],
)
def test_epochs_become_the_iterations_of_the_run(epochs, images, batch, iterations):
    told = recipe(f"train.epochs={epochs}", f"dataloader.train.total_batch_size={batch}")
    made = make_timetable(told, images)
    assert told.train.max_iter == made.max_iter == iterations
    assert make_timetable(told, images) == made  # of a recipe.yaml that was written with the iterations
    assert make_timetable(told, 3 * images).max_iter in (3 * iterations, 3 * iterations - 1, 3 * iterations - 2)


def test_without_epochs_iterations_stay_those_of_the_recipe():
    told = recipe()
    before = told.train.copy()
    made = make_timetable(told, 10)
    assert told.train == before
    assert (made.max_iter, made.epochs, made.warmup) == (before.max_iter, 0, None)
    assert (made.eval_period, made.checkpoint_period) == (before.eval_period, before.checkpoint_period)


def test_periods_count_in_epochs_where_these_are_given():
    made = timetable(
        61,
        *("train.epochs=2", "train.eval_epochs=0.5", "train.checkpoint_epochs=1", "train.warmup_epochs=0.1"),
        "dataloader.train.total_batch_size=4",
    )
    assert (made.eval_period, made.checkpoint_period, made.warmup) == (Fraction(61, 8), Fraction(61, 4), 2)
    assert [done for done in range(1, 32) if is_due(done, made.eval_period)] == [8, 16, 23, 31]


def test_the_arithmetic_is_logged(caplog):
    caplog.set_level(logging.INFO)
    four = "dataloader.train.total_batch_size=4"
    timetable(61, four, "train.epochs=20", "train.eval_epochs=1", "train.checkpoint_period=100", "train.warmup=9")
    timetable(64, four, "train.epochs=20", "train.eval_epochs=2", "train.checkpoint_epochs=30")
    timetable(61, four, "train.max_iter=100", "train.eval_period=0", "train.checkpoint_period=0", "train.warmup=0")
    assert [record.getMessage() for record in caplog.records] == [
        "20 epochs of 61 images at batch 4: 15.25 iterations an epoch (a batch may hold the end of one and the "
        "beginning of the next), 305 in all; evaluation after 16, 31, 46, ... iterations; a checkpoint every 100 "
        "iterations; 9 iterations of warm-up.",
        "20 epochs of 64 images at batch 4: 16 iterations an epoch, 320 in all; evaluation every 32 iterations; "
        "a checkpoint only at the end.",
        "100 iterations, 6.557 epochs of 61 images at batch 4; evaluation only at the end; a checkpoint only at the "
        "end; no iterations of warm-up.",
    ]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["train.epochs=1e9"],
            r"train\.epochs=1000000000\.0 .* 25000000000 iterations, .* at most 2147483647: lower it",
        ),
        (["train.max_iter=5", "train.warmup=5"], r"rises for 5 iterations, and the run has 5: lower train\.warmup,"),
        (["train.epochs=2", "train.warmup_epochs=2"], r"rises for 50 .* has 50: lower train\.warmup_epochs,"),
    ],
)
def test_lengths_that_cannot_be_are_refused(overrides, message):
    with pytest.raises(RecipeError, match=message):
        timetable(100, *overrides, "dataloader.train.total_batch_size=4")


def test_epochs_of_a_loader_without_a_batch_size_are_refused():
    told = recipe("train.eval_epochs=1")
    del told.dataloader.train.total_batch_size
    with pytest.raises(RecipeError, match=r"train\.eval_epochs=1 cannot be counted: .* has no total_batch_size"):
        make_timetable(told, 100)
    told.train.eval_epochs = 0
    assert make_timetable(told, 100).epoch is None


@pytest.mark.parametrize("name", [DINO, RCNN, CLASSIFIER])
def test_a_warm_up_of_its_own_leaves_the_rest_of_the_schedule_as_it_is(name):
    told = recipe("train.max_iter=1000", "optimizer.lr=1", name=name)
    before = told.lr_multiplier.copy()
    own, without, long = (build_schedule(told, warmup) for warmup in (None, 0, 100))
    places = [step / 1000 for step in range(1000)]
    assert [long(place) for place in places[100:]] == [without(place) for place in places[100:]]
    rising = [long(place) for place in places[:101]]
    assert rising == sorted(rising)
    assert rising[0] < 0.01 < 0.4 < rising[50] < 0.6
    assert without(0.0) == 1
    assert own(0.5) == without(0.5)
    assert (own(0.0) == 1) == (name == DINO)
    assert told.lr_multiplier == before

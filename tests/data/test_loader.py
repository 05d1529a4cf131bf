"""The training stream depends on seed and position only; the test shares are disjoint and complete."""

import random
from itertools import chain, islice

import numpy as np
import pytest
import torch
from detectron2.utils import comm
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.loader import SampleStream, build_test_loader, build_train_loader, epoch_order, rank_share, seeded


def draw_everywhere(record):
    """A mapper that draws from the three generators; at top level, so that workers can unpickle it."""
    return {**record, "draws": (random.random(), float(np.random.uniform()), float(torch.rand(())))}


def records(count):
    return [{"image_id": i} for i in range(count)]


def as_rank(monkeypatch, rank, world_size):
    monkeypatch.setattr(comm, "get_rank", lambda: rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: world_size)


def batches(count, size=10, **arguments):
    loader = build_train_loader(
        records(size), mapper=draw_everywhere, **{"total_batch_size": 4, "num_workers": 0, "seed": 7, **arguments}
    )
    return list(islice(loader, count))


@given(
    size=st.integers(1, 30),
    world_size=st.integers(1, 4),
    local=st.integers(1, 5),
    start=st.integers(0, 20),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_ranks_together_give_the_stream_of_one_process_from_any_iteration(size, world_size, local, start, seed):
    total = world_size * local

    def stream(rank, ranks, first, count):
        arguments = {"total_batch_size": total, "seed": seed, "start_iteration": first}
        return list(islice(SampleStream(size, rank=rank, world_size=ranks, **arguments), count))

    whole = stream(0, 1, 0, start + 6)
    parts = [stream(rank, world_size, start, 6) for rank in range(world_size)]
    joined = [list(chain(*(parts[rank][i] for rank in range(world_size)))) for i in range(6)]
    assert joined == whole[start:]
    positions = [position for batch in whole for position, _ in batch]
    assert positions == list(range(total * (start + 6)))


@given(size=st.integers(1, 40), seed=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_every_epoch_is_a_permutation(size, seed, epoch):
    assert sorted(epoch_order(size, seed, epoch).tolist()) == list(range(size))


def test_epochs_and_seeds_differ():
    assert epoch_order(20, 0, 0).tolist() != epoch_order(20, 0, 1).tolist()
    assert epoch_order(20, 0, 0).tolist() != epoch_order(20, 1, 0).tolist()


def test_order_is_the_same_with_every_numpy_release():
    assert epoch_order(8, 3, 2).tolist() == [1, 7, 0, 2, 4, 5, 6, 3]  # numpy 1.26.4 and 2.4.6


def test_images_of_an_epoch_are_visited_once():
    seen = [sample["image_id"] for batch in batches(5, size=10) for sample in batch]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))


def test_start_iteration_continues_the_stream_with_the_same_augmentation():
    assert batches(3, start_iteration=4) == batches(7)[4:]


def test_two_ranks_see_the_samples_of_one(monkeypatch):
    whole = batches(5)
    shares = []
    for rank in range(2):
        as_rank(monkeypatch, rank, 2)
        shares.append(batches(5))
    assert [first + second for first, second in zip(*shares, strict=True)] == whole


def test_number_of_workers_changes_nothing():
    assert batches(6, num_workers=2) == batches(6, num_workers=0)


def test_samples_have_their_own_randomness():
    draws = [sample["draws"] for batch in batches(5) for sample in batch]
    assert len(set(draws)) == len(draws)
    assert draws != [sample["draws"] for batch in batches(5, seed=8) for sample in batch]


def test_loading_leaves_the_generators_of_the_training_alone():
    def next_draws():
        return random.random(), float(np.random.uniform()), float(torch.rand(()))

    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    undisturbed = [next_draws() for _ in range(2)]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    first = next_draws()
    batches(2)
    batches(2, num_workers=1)
    assert [first, next_draws()] == undisturbed


def test_seeded_restores_after_an_error():
    def fail_while_seeded():
        with seeded(1, 2):
            raise RuntimeError(random.random())

    before = random.getstate()
    with pytest.raises(RuntimeError):
        fail_while_seeded()
    assert random.getstate() == before


def test_no_images_is_an_error():
    with pytest.raises(ValueError, match="training data set has no images"):
        build_train_loader([], mapper=draw_everywhere, total_batch_size=1)
    with pytest.raises(ValueError, match="test data set has no images"):
        build_test_loader([], mapper=draw_everywhere)


@pytest.mark.parametrize(("total", "ranks"), [(3, 2), (0, 1), (-2, 2)])
def test_batch_that_cannot_be_shared_is_an_error(monkeypatch, total, ranks):
    as_rank(monkeypatch, 0, ranks)
    with pytest.raises(ValueError, match=f"total_batch_size={total} must be a positive multiple .* {ranks}"):
        build_train_loader(records(4), mapper=draw_everywhere, total_batch_size=total)


@given(size=st.integers(0, 50), world_size=st.integers(1, 9))
def test_rank_shares_are_disjoint_complete_and_even(size, world_size):
    shares = [list(rank_share(size, rank, world_size)) for rank in range(world_size)]
    assert list(chain(*shares)) == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_test_loader_visits_every_image_once_over_the_ranks(monkeypatch):
    seen = []
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        loader = build_test_loader(records(7), mapper=draw_everywhere, num_workers=0, batch_size=2)
        assert len(loader) == [2, 1, 1][rank]
        seen += [sample["image_id"] for batch in loader for sample in batch]
    assert seen == list(range(7))


def test_test_loader_of_a_rank_without_images_is_empty(monkeypatch):
    as_rank(monkeypatch, 1, 2)
    assert list(build_test_loader(records(1), mapper=draw_everywhere, num_workers=0)) == []

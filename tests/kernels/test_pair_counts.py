"""Pixels of pairs of segments, counted by the compiled function and one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.evaluation.panoptic_counts import Segments, count_overlaps
from focalnet_d2.kernels import pair_counts

IDS = st.sampled_from([0, 1, 2, 5, 256, 257, 70_000, 2**24 - 1])


def plainly(truth, predicted, true_ids, predicted_ids):
    """One pixel after the other."""
    found = np.zeros((len(true_ids) + 2, len(predicted_ids) + 2), np.int64)
    rows, columns = ({number: place for place, number in enumerate([0, *ids])} for ids in (true_ids, predicted_ids))
    for one, other in zip(truth.reshape(-1).tolist(), predicted.reshape(-1).tolist()):
        found[rows.get(one, len(true_ids) + 1), columns.get(other, len(predicted_ids) + 1)] += 1
    return found


def listed(ids):
    """Segments of which only the ids matter."""
    zeros = np.zeros(len(ids), int)
    return Segments(np.array(ids, np.int64), zeros, zeros.astype(bool), zeros.astype(bool), zeros.astype(float))


@st.composite
def maps(draw):
    """Two maps (H, W) of stretches of any length."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 90))
    stretches = st.lists(st.tuples(IDS, st.integers(1, 80)), min_size=1, max_size=12)

    def labels():
        ids, lengths = zip(*draw(stretches))
        return np.resize(np.repeat(np.array(ids), lengths), (height, width))

    return labels(), labels()


@pytest.mark.parametrize("compiled", [True, False])
@settings(max_examples=80, deadline=None)
@given(
    pair=maps(),
    ids=st.tuples(*[st.lists(IDS.filter(bool), unique=True).map(sorted)] * 2),
    kinds=st.tuples(*[st.sampled_from([np.int32, np.int64, np.uint32])] * 2),
)
def test_any_maps_and_lists(compiled, pair, ids, kinds):
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setenv("FOCALNET_D2_COMPILE", "0")
        elif pair_counts.LIBRARY.load() is None:
            pytest.skip(pair_counts.LIBRARY.unavailable_reason())
        truth, predicted = (labels.astype(kind) for labels, kind in zip(pair, kinds))
        found = count_overlaps(truth, predicted, *map(listed, ids))
    assert found.dtype == np.int64
    assert np.array_equal(found, plainly(truth, predicted, *ids))


@pytest.mark.parametrize("compiled", ["1", "0"])
def test_ids_that_no_list_can_have_are_counted_as_such(compiled, monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_COMPILE", compiled)
    truth = np.array([[-1, 2**32 + 1, 1, 0]])
    found = count_overlaps(truth, np.array([[3, 3, 3, 2**40]]), listed([1]), listed([3]))
    assert found.tolist() == [[0, 0, 1], [0, 1, 0], [0, 2, 0]]


def test_layout_in_memory_does_not_matter():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, 30, 40))
    ids = listed([1, 2])
    expected = plainly(truth, predicted, [1, 2], [1, 2])
    assert np.array_equal(count_overlaps(np.asfortranarray(truth), predicted[::-1][::-1], ids, ids), expected)
    assert np.array_equal(count_overlaps(truth.T, predicted.T, ids, ids), expected)

"""Run lengths of masks are those that pycocotools writes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as mask_codec

from focalnet_d2.data.run_lengths import encode_mask
from focalnet_d2.structures.cropped_masks import CroppedMask

sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def encoded(mask: np.ndarray) -> dict:
    return encode_mask(CroppedMask.around(mask), mask.shape)


def expected(mask: np.ndarray) -> dict:
    runs = mask_codec.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode("ascii")}


@given(arrays.arrays(bool, sizes))
def test_any_mask(mask):
    assert encoded(mask) == expected(mask)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("size", [(1, 70001), (70001, 1), (300, 411)])
def test_long_runs_take_several_characters(size, share):
    mask = np.random.default_rng(0).random(size) < share
    assert encoded(mask) == expected(mask)
    assert encoded(np.asfortranarray(mask)) == expected(mask)


def test_runs_that_grow_and_shrink():
    mask = np.concatenate([np.full(length, index % 2, bool) for index, length in enumerate([0, 1, 5000, 3, 2, 90000])])
    assert encoded(mask[:, None]) == expected(mask[:, None])

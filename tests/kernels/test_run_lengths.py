"""Compressed run lengths of masks are those of pycocotools, character for character."""

import numpy as np
import pycocotools.mask
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.kernels import run_lengths


@pytest.fixture(autouse=True)
def _compiled():
    if run_lengths.LIBRARY.load() is None:
        pytest.skip(run_lengths.LIBRARY.unavailable_reason())


def official(masks):
    """(N, H, W) bool -> N texts."""
    return [pycocotools.mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() for mask in masks]


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 150)),
    kind=st.sampled_from(["noise", "few", "block", "columns", "empty", "full"]),
    seed=st.integers(0, 2**31),
)
def test_any_masks(shape, kind, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random(shape) < {"noise": 0.5, "few": 0.02, "full": 1.0}.get(kind, 0.0)
    if kind == "columns":
        masks |= rng.random((shape[0], 1, shape[2])) < 0.5  # runs go on from one column to the next
    if kind == "block":
        top, left = (rng.integers(0, side) for side in shape[1:])
        masks[:, top : top + 9, left : left + 70] = True
    assert run_lengths.encode_masks(torch.from_numpy(masks)) == official(masks)


def test_long_runs_and_texts_that_need_more_room():
    masks = np.zeros((3, 1100, 1000), bool)
    masks[0, 1, 700] = masks[2, -1, -1] = True
    masks[1] = np.random.default_rng(0).random(masks.shape[1:]) < 0.5
    assert run_lengths.encode_masks(torch.from_numpy(masks)) == official(masks)


def test_layout_in_memory_does_not_matter():
    masks = torch.rand(4, 30, 50) < 0.3
    assert run_lengths.encode_masks(masks.permute(0, 2, 1)) == official(masks.permute(0, 2, 1).numpy())
    assert run_lengths.encode_masks(masks[::2, 3:, ::3]) == official(masks[::2, 3:, ::3].numpy())

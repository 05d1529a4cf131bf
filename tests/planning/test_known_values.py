"""Tensors without values know those that follow from known ones."""

import pytest
import torch

from focalnet_d2.planning.known_values import KnownValues

LABELS, PIXELS = torch.tensor([[0, 3, 1], [2, 3, 3]]), torch.rand(2, 3)


def test_what_follows_from_known_values_is_known():
    with KnownValues() as values:
        labels = values.known(LABELS)
        threes = (labels == 3).nonzero()
        count = int((labels + torch.ones(2, 3, dtype=torch.int64)).sum())
        chosen = labels[labels > 0]
    assert threes.shape == (3, 2)
    assert count == 18
    assert chosen.shape == (5,)


def test_a_written_tensor_is_known_as_long_as_what_is_written_is():
    with KnownValues() as values:
        mask = torch.ones(2, 3, dtype=torch.bool)
        mask[0, :2] = False
        assert mask.nonzero().shape == (4, 2)
        mask[1] = values.unknown(PIXELS)[1] > 0.5
        assert values.value(mask) is None
        mask.fill_(False)
        assert mask.nonzero().shape == (0, 2)


def test_unknown_masks_are_taken_to_be_full():
    with KnownValues() as values:
        pixels, labels = values.unknown(PIXELS), values.known(LABELS)
        bright = pixels > 0.5
        assert bright.nonzero().shape == (6, 2)
        assert pixels[bright].shape == (6,)
        assert labels[bright].max() == 3
        assert pixels[labels == 3].shape == (3,)


def test_a_result_that_cannot_be_guessed_is_an_error_that_names_the_operator():
    with KnownValues() as values, pytest.raises(NotImplementedError, match="_unique2"):
        values.unknown(PIXELS).unique()

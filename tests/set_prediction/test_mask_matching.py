"""Costs and losses of masks worked out by hand, their relation, and the matcher's robustness."""

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.set_prediction.costs import pairwise_class_cost, pairwise_dice_cost, pairwise_mask_cost
from focalnet_d2.set_prediction.losses import dice_loss, mask_loss
from focalnet_d2.set_prediction.matcher import MaskMatcher

SIZES = st.integers(1, 5)


def test_class_cost_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0), 0.0]])  # probabilities 0.2, 0.6, 0.2
    cost = pairwise_class_cost(logits, torch.tensor([1, 0, 1]))
    torch.testing.assert_close(cost, torch.tensor([[-0.6, -0.2, -0.6]]))


def test_mask_and_dice_cost_by_hand():
    logits = torch.tensor([[0.0, 0.0, 100.0, -100.0]], dtype=torch.float64)
    masks = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    half = 2 * math.log(2) / 4
    torch.testing.assert_close(
        pairwise_mask_cost(logits, masks), torch.tensor([[half, half + 25.0]], dtype=torch.float64)
    )
    dice = [1 - (2 * 1.5 + 1) / (2 + 2 + 1), 1 - 1 / (2 + 0 + 1)]
    torch.testing.assert_close(pairwise_dice_cost(logits, masks), torch.tensor([dice], dtype=torch.float64))


def test_empty_against_empty_costs_nothing():
    assert pairwise_dice_cost(torch.full((1, 6), -200.0), torch.zeros(1, 6)).item() == 0


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, st.integers(0, 10_000))
def test_a_cost_is_the_loss_of_its_pair(count, points, seed):
    draws = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, points, generator=draws, dtype=torch.float64)
    masks = torch.rand(count, points, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(pairwise_mask_cost(logits, masks).diagonal(), mask_loss(logits, masks))
    torch.testing.assert_close(pairwise_dice_cost(logits, masks).diagonal(), dice_loss(logits, masks))


def test_gradients_of_the_losses():
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(3, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(mask_loss, (logits, masks))
    assert torch.autograd.gradcheck(dice_loss, (logits, masks))


def matching_problem(targets: int = 2, dtype: torch.dtype = torch.float32):
    """Query m + 1 is sure of target m."""
    masks = torch.zeros(targets, 8, dtype=dtype)
    logits, mask_logits = torch.zeros(targets + 2, 6, dtype=dtype), torch.full((targets + 2, 8), -8.0, dtype=dtype)
    for m in range(targets):
        masks[m, 2 * m : 2 * m + 2] = 1
        mask_logits[m + 1, 2 * m : 2 * m + 2] = 8
        logits[m + 1, m] = 8
    return logits, mask_logits, torch.arange(targets), masks


def match(logits, mask_logits, labels, masks, matcher=None):
    """The pairs of one prediction."""
    (pairs,) = (matcher or MaskMatcher())([logits], [mask_logits], labels, masks)
    return pairs


def test_each_target_goes_to_the_query_that_knows_it():
    queries, targets = match(*matching_problem())
    assert queries.tolist() == [1, 2]
    assert targets.tolist() == [0, 1]


def test_predictions_of_an_image_are_matched_one_by_one():
    logits, mask_logits, labels, masks = matching_problem()
    found = MaskMatcher()([logits, logits.flip(0)], [mask_logits, mask_logits.flip(0)], labels, masks)
    assert [[side.tolist() for side in pairs] for pairs in found] == [[[1, 2], [0, 1]], [[1, 2], [1, 0]]]


def test_no_target_no_pair():
    queries, targets = match(*matching_problem(targets=0))
    assert len(queries) == len(targets) == 0


def test_more_targets_than_queries_leaves_some_without():
    logits, mask_logits, labels, masks = matching_problem(targets=4)
    queries, targets = match(logits[:2], mask_logits[:2], labels, masks)
    assert queries.tolist() == [0, 1]
    assert len(set(targets.tolist())) == 2


def test_half_precision_is_widened():
    logits, mask_logits, labels, masks = matching_problem()
    mask_logits = (mask_logits * 1000).half()  # squares and sums would overflow
    matcher = MaskMatcher()
    assert matcher.cost(logits.half(), mask_logits, labels, masks.half()).dtype == torch.float32
    assert match(logits.half(), mask_logits, labels, masks.half(), matcher)[0].tolist() == [1, 2]
    assert matcher.non_finite_costs == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_costs_that_are_not_finite_are_avoided_counted_and_reported(value, caplog):
    logits, mask_logits, labels, masks = matching_problem()
    mask_logits[0] = value
    matcher = MaskMatcher()
    with caplog.at_level(logging.WARNING):
        assert match(logits, mask_logits, labels, masks, matcher)[0].tolist() == [1, 2]
    assert matcher.non_finite_costs == 2
    assert "2 of 8 matching costs are not finite" in caplog.text

"""Costs worked out by hand, and the assignment against trying every possibility."""

import itertools
import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.set_prediction.costs import pairwise_focal_cost, pairwise_giou_cost, pairwise_l1_cost
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.targets import Targets


def random_predictions(queries: int, seed: int, classes: int = 3):
    """Logits, and boxes that lie inside the image."""
    draws = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(queries, classes, generator=draws)
    sides = 0.05 + 0.4 * torch.rand(queries, 2, generator=draws)
    centers = sides / 2 + (1 - sides) * torch.rand(queries, 2, generator=draws)
    return logits, torch.cat([centers, sides], dim=-1)


def random_targets(objects: int, seed: int, classes: int = 3) -> Targets:
    labels = torch.randint(classes, (objects,), generator=torch.Generator().manual_seed(seed + 1))
    return Targets(labels, random_predictions(objects, seed + 2)[1])


def match(logits, boxes, *targets, **weights):
    """Pairs of each image as sets of (query, target)."""
    indices = HungarianMatcher(**weights)(logits, boxes, targets)
    return [set(zip(queries.tolist(), objects.tolist(), strict=True)) for queries, objects in indices]


def test_focal_cost_by_hand():
    """A logit of zero costs (0.25 - 0.75) / 4 * log 2; a confident one is cheap for its class, dear for another."""
    logits = torch.tensor([[0.0, 5.0, -5.0]], dtype=torch.float64)
    cost = pairwise_focal_cost(logits, torch.tensor([0, 1, 2]))
    p = 1 / (1 + math.exp(-5.0))
    sure = 0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p)
    unsure = 0.25 * p**2 * -math.log(1 - p) - 0.75 * (1 - p) ** 2 * -math.log(p)
    expected = torch.tensor([[-0.125 * math.log(2), sure, unsure]], dtype=torch.float64)
    torch.testing.assert_close(cost, expected, atol=1e-5, rtol=0)


def test_focal_cost_has_a_column_for_every_target():
    logits = torch.randn(4, 3)
    cost = pairwise_focal_cost(logits, torch.tensor([2, 0, 2]))
    assert cost.shape == (4, 3)
    torch.testing.assert_close(cost[:, 0], cost[:, 2])


def test_l1_cost_by_hand():
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.0, 0.0, 1.0, 1.0]])
    targets = torch.tensor([[0.4, 0.7, 0.2, 0.1]])
    torch.testing.assert_close(pairwise_l1_cost(boxes, targets), torch.tensor([[0.4], [2.8]]))


def test_giou_cost_by_hand():
    """Equal boxes: -1; two squares of a quarter side by side in a hull of half: 0; apart: positive."""
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.5]], dtype=torch.float64)
    targets = torch.tensor([[0.25, 0.5, 0.5, 0.5], [0.75, 0.5, 0.5, 0.5], [1.25, 0.5, 0.5, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[-1.0, 0.0, 1 / 3]], dtype=torch.float64)
    torch.testing.assert_close(pairwise_giou_cost(boxes, targets), expected, atol=1e-5, rtol=0)


def test_weights_scale_the_costs():
    logits, boxes = random_predictions(4, 0)
    targets = random_targets(3, 0)
    parts = [
        pairwise_focal_cost(logits, targets.labels),
        pairwise_l1_cost(boxes, targets.boxes),
        pairwise_giou_cost(boxes, targets.boxes),
    ]
    cost = HungarianMatcher(2.0, bbox_weight=5.0, giou_weight=3.0).cost(logits, boxes, targets)
    torch.testing.assert_close(cost, 2 * parts[0] + 5 * parts[1] + 3 * parts[2])


def cheapest_assignment(cost) -> float:
    """Every way to give each of the fewer its own partner among the more."""
    rows, columns = cost.shape
    if rows < columns:
        return cheapest_assignment(cost.T)
    return min(
        sum(float(cost[row, column]) for column, row in enumerate(chosen))
        for chosen in itertools.permutations(range(rows), columns)
    )


@settings(max_examples=60, deadline=None)
@given(queries=st.integers(1, 6), objects=st.integers(0, 6), seed=st.integers(0, 10_000))
def test_matcher_finds_the_cheapest_assignment(queries, objects, seed):
    logits, boxes = random_predictions(queries, seed)
    targets, matcher = random_targets(objects, seed), HungarianMatcher()
    cost = matcher.cost(logits.double(), boxes.double(), targets)
    ((chosen, partners),) = matcher(logits[None], boxes[None], [targets])
    assert len(chosen) == len(partners) == min(queries, objects)
    assert len(set(chosen.tolist())) == len(chosen)
    assert len(set(partners.tolist())) == len(partners)
    assert float(cost[chosen, partners].sum()) == pytest.approx(cheapest_assignment(cost), abs=1e-4)


def test_clear_case():
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1], [0.5, 0.5, 0.3, 0.3]])
    logits = torch.full((3, 2), -4.0)
    targets = Targets(torch.tensor([1, 0]), torch.tensor([[0.8, 0.8, 0.1, 0.1], [0.5, 0.5, 0.3, 0.3]]))
    assert match(logits[None], boxes[None], targets) == [{(1, 0), (2, 1)}]


def test_class_decides_between_equal_boxes():
    boxes = torch.tensor([[0.5, 0.5, 0.3, 0.3]] * 2)
    targets = Targets(torch.tensor([1, 0]), boxes)
    logits = torch.tensor([[3.0, -3.0], [-3.0, 3.0]])
    assert match(logits[None], boxes[None], targets) == [{(0, 1), (1, 0)}]


def test_images_of_a_batch_are_matched_alone_and_may_be_empty():
    predictions = [random_predictions(5, seed) for seed in (1, 2, 3)]
    logits, boxes = (torch.stack(part) for part in zip(*predictions, strict=True))
    targets = [random_targets(3, 1), random_targets(0, 2), random_targets(7, 3)]
    together = match(logits, boxes, *targets)
    assert [len(pairs) for pairs in together] == [3, 0, 5]
    for i, pairs in enumerate(together):
        assert match(logits[i : i + 1], boxes[i : i + 1], targets[i]) == [pairs]


def test_sets_of_predictions_are_matched_by_themselves():
    logits, boxes = random_predictions(12, 0)
    sets = [
        {"pred_logits": logits[None, first : first + 4], "pred_boxes": boxes[None, first : first + 4]}
        for first in (0, 4, 8)
    ]
    targets, matcher = [random_targets(3, 0)], HungarianMatcher()
    for one, indices in zip(sets, matcher.match_sets(sets, targets), strict=True):
        expected = matcher(one["pred_logits"], one["pred_boxes"], targets)
        for found, alone in zip(indices, expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))


def test_empty_indices_can_index():
    logits, boxes = random_predictions(4, 0)
    ((queries, objects),) = HungarianMatcher()(logits[None], boxes[None], [random_targets(0, 0)])
    assert queries.dtype == objects.dtype == torch.int64
    assert logits[queries].shape == (0, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_costs_that_are_not_finite_are_avoided_counted_and_reported(value, caplog):
    logits, boxes = random_predictions(4, 0)
    targets, matcher = random_targets(3, 0), HungarianMatcher()
    boxes[1, 0] = value
    with caplog.at_level(logging.WARNING):
        ((queries, objects),) = matcher(logits[None], boxes[None], [targets])
    assert 1 not in queries.tolist()
    assert len(objects) == 3
    assert matcher.non_finite_costs == 3  # one row
    assert "3 of 12" in caplog.text


def test_all_costs_not_finite_still_gives_an_assignment():
    logits, boxes = random_predictions(4, 0)
    ((queries, objects),) = HungarianMatcher()(logits[None] * math.nan, boxes[None], [random_targets(2, 0)])
    assert len(set(queries.tolist())) == 2
    assert sorted(objects.tolist()) == [0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_predictions_are_matched_in_float32(dtype):
    logits, boxes = random_predictions(6, 5)
    targets = random_targets(4, 5)
    low = match(logits.to(dtype)[None], boxes.to(dtype)[None], targets)
    assert low == match(logits.to(dtype).float()[None], boxes.to(dtype).float()[None], targets)


def test_matching_has_no_gradient():
    logits, boxes = (x.requires_grad_() for x in random_predictions(4, 0))
    ((queries, _),) = HungarianMatcher()(logits[None], boxes[None], [random_targets(2, 0)])
    assert not queries.requires_grad


def test_permuting_predictions_permutes_the_assignment():
    logits, boxes = random_predictions(6, 3)
    targets = random_targets(4, 3)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    (before,), (after,) = (
        match(logits[None], boxes[None], targets),
        match(logits[order][None], boxes[order][None], targets),
    )
    assert {(int(order[q]), t) for q, t in after} == before

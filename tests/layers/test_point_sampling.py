"""Reading maps at points against `grid_sample` on padded copies, and values worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.layers.point_sampling import sample_masks, sample_points, select_uncertain_points, uniform_points

SIDES = st.integers(1, 9)


def test_a_map_is_read_between_its_cells():
    feature = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.5]]])  # x, y
    torch.testing.assert_close(sample_points(feature, points), torch.tensor([[[0.0, 4.0, 6.0, 4.0]]]))


def test_beyond_the_border_is_zero():
    feature = torch.ones(1, 1, 2, 2)
    points = torch.tensor([[[0.0, 0.0], [0.0, 0.5], [-1.0, 0.5]]])
    torch.testing.assert_close(sample_points(feature, points), torch.tensor([[[0.25, 0.5, 0.0]]]))


def test_gradient_of_reading():
    feature = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    points = torch.rand(2, 6, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda maps: sample_points(maps, points), feature)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.booleans(), st.integers(0, 10_000))
def test_masks_are_read_as_if_padded(height, width, below, right, count, shared, seed):
    draws = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, height, width, generator=draws) > 0.5
    points = torch.rand(1 if shared else count, 7, 2, generator=draws, dtype=torch.float64)
    padded = F.pad(masks.double(), (0, right, 0, below))
    expected = sample_points(padded[:, None], points.expand(count, -1, -1))[:, 0]
    ours = sample_masks(masks, points, (height + below, width + right))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_rows_say_which_masks_are_read():
    masks, points = torch.rand(4, 5, 6) > 0.5, torch.rand(6, 7, 2)
    rows = torch.tensor([3, 0, 3, 1, 0, 3])  # mask 2 by nobody
    torch.testing.assert_close(sample_masks(masks, points, (8, 8), rows), sample_masks(masks[rows], points, (8, 8)))


def test_uniform_points_fill_the_map_and_follow_the_seed():
    like = torch.zeros(1, dtype=torch.float64)
    torch.manual_seed(3)
    points = uniform_points(4, 500, like)
    assert points.shape == (4, 500, 2)
    assert points.dtype == torch.float64
    assert 0 <= points.min() < 0.01 < 0.99 < points.max() < 1
    torch.manual_seed(3)
    assert torch.equal(points, uniform_points(4, 500, like))


def test_the_least_decided_candidates_are_chosen():
    logits = torch.tensor([[[-9.0, 1.0, 5.0, -0.5]], [[0.0, 8.0, 8.0, 8.0]]])  # (2, 1, 4)
    centers = torch.tensor([0.125, 0.375, 0.625, 0.875])
    candidates = torch.stack([centers, torch.full((4,), 0.5)], dim=-1).expand(2, -1, -1)
    chosen = select_uncertain_points(logits, candidates, 2)
    assert sorted(chosen[0, :, 0].tolist()) == [0.375, 0.875]
    assert 0.125 in chosen[1, :, 0]


@pytest.mark.parametrize("count", [0, 3])
def test_no_mask_needs_no_point(count):
    assert sample_masks(torch.zeros(count, 4, 4, dtype=torch.bool), torch.rand(1, 5, 2), (4, 4)).shape == (count, 5)
    chosen = select_uncertain_points(torch.zeros(count, 4, 4), torch.rand(count, 5, 2), 2)
    assert chosen.shape == (count, 2, 2)

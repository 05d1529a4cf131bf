"""Boxes: conversions, generalised overlap worked out by hand, the clamped inverse of the sigmoid."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, generalized_box_iou, inverse_sigmoid

coordinates = st.floats(-100, 100, allow_nan=False, width=32)


def pairwise(first, second):
    """Every box of one list against every box of another: (n, 4), (m, 4) -> (n, m)."""
    return generalized_box_iou(first[:, None], second[None])


def test_conversion_by_hand():
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.6], [10.0, 20.0, 4.0, 8.0]])
    expected = torch.tensor([[0.4, 0.1, 0.6, 0.7], [8.0, 16.0, 12.0, 24.0]])
    torch.testing.assert_close(box_cxcywh_to_xyxy(boxes), expected)
    torch.testing.assert_close(box_xyxy_to_cxcywh(expected), boxes)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=5))
def test_conversions_undo_each_other(rows):
    boxes = torch.tensor(rows, dtype=torch.float64).reshape(1, -1, 4)
    torch.testing.assert_close(box_xyxy_to_cxcywh(box_cxcywh_to_xyxy(boxes)), boxes, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(box_cxcywh_to_xyxy(box_xyxy_to_cxcywh(boxes)), boxes, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7 - 2 / 9),  # union 7 in a hull of 9
        ((0, 0, 1, 1), (2, 0, 3, 1), 0 - 1 / 3),  # apart: hull 3, union 2
        ((0, 0, 4, 4), (1, 1, 2, 2), 1 / 16),  # one inside the other: the hull is the union
        ((0, 0, 2, 1), (2, 0, 4, 1), 0.0),  # touching
    ],
    ids=("equal", "overlap", "apart", "inside", "touching"),
)
def test_generalized_iou_by_hand(first, second, expected):
    value = pairwise(torch.tensor([first]).double(), torch.tensor([second]).double())
    assert value.shape == (1, 1)
    assert value.item() == pytest.approx(expected, abs=2e-6)  # 1e-6 in the denominators


def test_generalized_iou_compares_every_pair():
    first = torch.tensor([[0, 0, 2, 2], [5, 5, 6, 6], [0, 0, 1, 3]]).double()
    second = torch.tensor([[0, 0, 2, 2], [1, 1, 3, 3]]).double()
    matrix = pairwise(first, second)
    assert matrix.shape == (3, 2)
    for row, column in ((0, 0), (1, 0), (2, 1)):
        single = pairwise(first[row : row + 1], second[column : column + 1])
        torch.testing.assert_close(matrix[row, column], single[0, 0])
    torch.testing.assert_close(pairwise(second, first), matrix.T)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=4), st.floats(0.1, 50))
def test_generalized_iou_is_bounded_and_knows_no_unit(rows, scale):
    boxes = box_cxcywh_to_xyxy(torch.tensor(rows, dtype=torch.float64) + torch.tensor([0, 0, 0.1, 0.1]))
    values = pairwise(boxes, boxes.flip(0))
    assert values.min() >= -1
    assert values.max() <= 1
    if scale > 1:  # the constant in the denominators is felt by small boxes
        torch.testing.assert_close(pairwise(boxes * scale, boxes.flip(0) * scale), values, atol=1e-3, rtol=0)


def test_degenerate_boxes_give_finite_values_and_gradients():
    points = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.2, 0.2, 0.2, 0.8], [0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.9, 0.9]])
    values = pairwise(points, boxes)
    assert values.isfinite().all()
    values.sum().backward()
    assert points.grad.isfinite().all()
    assert values[0, 0].item() == pytest.approx(0.0, abs=1e-4)  # a point on itself: empty over empty


def test_generalized_iou_of_no_boxes():
    assert pairwise(torch.zeros(0, 4), torch.rand(3, 4)).shape == (0, 3)
    assert pairwise(torch.rand(3, 4), torch.zeros(0, 4)).shape == (3, 0)


def test_inverse_sigmoid_clamps_at_a_thousandth():
    values = torch.tensor([0.5, 0.25, 0.0, -3.0, 1.0, 7.0, 1e-5])
    limit = math.log(1000.0)
    expected = torch.tensor([0.0, math.log(1 / 3), -limit, -limit, limit, limit, math.log(1e-3 / (1 - 1e-5))])
    torch.testing.assert_close(inverse_sigmoid(values), expected)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.002, 0.998))
def test_inverse_sigmoid_undoes_the_sigmoid(value):
    tensor = torch.tensor([value], dtype=torch.float64)
    torch.testing.assert_close(inverse_sigmoid(tensor).sigmoid(), tensor)

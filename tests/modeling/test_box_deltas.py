"""Boxes as changes of other boxes."""

import math

import pytest
import torch
from detectron2.structures import Boxes
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.modeling.box_deltas import BoxDeltas, refine_boxes

CODED = BoxDeltas([10.0, 10.0, 5.0, 5.0])
BOX = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 x 40 around (20, 40)


def test_by_hand():
    deltas = torch.tensor([[1.0, -2.0, 5 * math.log(2), 0.0]])  # 2 to the right, 8 up, twice as wide
    torch.testing.assert_close(CODED.apply_deltas(deltas, BOX), torch.tensor([[2.0, 12.0, 42.0, 52.0]]))
    torch.testing.assert_close(CODED.get_deltas(BOX, torch.tensor([[2.0, 12.0, 42.0, 52.0]])), deltas)


@pytest.mark.parametrize(("sign", "factor"), [(-1, 16 / 1000), (1, 1000 / 16)])
def test_sizes_are_bounded_on_both_sides(sign, factor):
    found = CODED.apply_deltas(torch.tensor([[0.0, 0.0, sign * 1000.0, sign * 21.0]]), BOX)
    width, height = 20 * factor / 2, 40 * factor / 2
    torch.testing.assert_close(found, torch.tensor([[20 - width, 40 - height, 20 + width, 40 + height]]))


sides = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(8, 200), st.floats(8, 200))


@given(sides, sides)
def test_what_was_encoded_comes_back(first, second):
    first, second = (torch.tensor([[x, y, x + w, y + h]]) for x, y, w, h in (first, second))
    again = CODED.apply_deltas(CODED.get_deltas(first, second), first)
    torch.testing.assert_close(again, second, atol=0.01, rtol=1e-4)


def test_each_box_moves_by_its_own_class_and_stays_in_the_image():
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 2] = torch.tensor([10.0, 0, 0, 0])  # by its width
    deltas[1, 0] = torch.tensor([0.0, 10, 0, 0])  # by its height, out of the image
    boxes = Boxes(BOX.repeat(2, 1))
    refined = refine_boxes(boxes, deltas.flatten(1), torch.tensor([2, 0]), CODED, (90, 100))
    torch.testing.assert_close(refined.tensor, torch.tensor([[30.0, 20, 50, 60], [10, 60, 30, 90]]))
    torch.testing.assert_close(boxes.tensor, BOX.repeat(2, 1))


def test_no_boxes_and_half_precision():
    assert CODED.apply_deltas(torch.zeros(0, 12), torch.zeros(0, 4)).shape == (0, 12)
    assert CODED.apply_deltas(torch.zeros(1, 4, dtype=torch.bfloat16), BOX).dtype == torch.float32

"""The two ways to compare boxes: what their distance is, and how little of a box is still a box."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.layers.box_ops import box_cxcywh_to_xyxy
from focalnet_d2.set_prediction.box_metric import CxcywhBoxMetric, XyxyBoxMetric
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.targets import Targets

ONE_CLASS = torch.zeros(1, 1)


def cost(metric, box, target, **weights) -> float:
    targets = Targets(torch.tensor([0]), torch.tensor([target], dtype=torch.float64))
    matcher = HungarianMatcher(0.0, **{"bbox_weight": 0.0, "giou_weight": 0.0, **weights}, box_metric=metric)
    return matcher.cost(ONE_CLASS.double(), torch.tensor([box], dtype=torch.float64), targets).item()


def test_distance_by_hand():
    """A box that is 0.2 wider to both sides: 0.4 in its width alone, or 0.2 in each of two corners."""
    narrow, wide = (0.5, 0.5, 0.2, 0.4), (0.5, 0.5, 0.6, 0.4)
    assert cost(CxcywhBoxMetric(), narrow, wide, bbox_weight=1.0) == pytest.approx(0.4)
    assert cost(XyxyBoxMetric(), narrow, wide, bbox_weight=1.0) == pytest.approx(0.4)
    moved = (0.6, 0.5, 0.2, 0.4)  # 0.1 in the centre, or in each of two corners
    assert cost(CxcywhBoxMetric(), narrow, moved, bbox_weight=1.0) == pytest.approx(0.1)
    assert cost(XyxyBoxMetric(), narrow, moved, bbox_weight=1.0) == pytest.approx(0.2)


def test_the_default_is_that_of_detr():
    assert isinstance(HungarianMatcher().box_metric, CxcywhBoxMetric)


def test_a_small_box_equals_itself_in_pixels_only():
    """1 x 1 of 1000 x 1000 pixels: as a share of the image its area is as small as the constant in the IoU."""
    dot = (0.5, 0.5, 1e-3, 1e-3)
    assert cost(XyxyBoxMetric(), dot, dot, giou_weight=1.0) == pytest.approx(-1.0, abs=1e-5)
    assert cost(CxcywhBoxMetric(), dot, dot, giou_weight=1.0) == pytest.approx(-0.5, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0.02, 0.98)] * 4), min_size=2, max_size=2), st.integers(100, 1400))
def test_costs_of_corners_are_those_in_pixels(rows, width):
    first, second = torch.tensor(rows, dtype=torch.float64).unbind()
    size = torch.tensor([width, 800, width, 800], dtype=torch.float64)
    in_pixels = [box_cxcywh_to_xyxy(box) * size for box in (first, second)]
    distance = ((in_pixels[0] - in_pixels[1]) / size).abs().sum().item()
    assert cost(XyxyBoxMetric(), first.tolist(), second.tolist(), bbox_weight=1.0) == pytest.approx(distance)
    low, high = torch.maximum(*in_pixels)[:2], torch.minimum(*in_pixels)[2:]
    overlap = (high - low).clamp(min=0).prod()
    union = sum((box[2:] - box[:2]).prod() for box in in_pixels) - overlap
    hull = (torch.maximum(*in_pixels)[2:] - torch.minimum(*in_pixels)[:2]).prod()
    expected = -(overlap / union - (hull - union) / hull).item()
    assert cost(XyxyBoxMetric(), first.tolist(), second.tolist(), giou_weight=1.0) == pytest.approx(expected, abs=1e-6)

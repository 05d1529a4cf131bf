"""The suppression of numpy makes torchvision's decisions."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torchvision.ops import nms
from torchvision.ops.boxes import _batched_nms_vanilla

from focalnet_d2.export.decoding.suppression import suppress

THRESHOLDS = st.sampled_from([0.0, 0.2, 0.3, 0.5, 0.6, 0.7, 1.0])


@st.composite
def _boxes(draw) -> np.ndarray:
    """(N, 4) with corners on a small grid, so that IoUs equal a threshold and boxes have no area."""
    count = draw(st.integers(0, 30))
    corners = draw(arrays.arrays(np.int64, (count, 2, 2), elements=st.integers(0, 6)))
    return np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)


@given(boxes=_boxes(), threshold=THRESHOLDS, data=st.data())
@settings(max_examples=80)
def test_it_keeps_what_torchvision_keeps(boxes, threshold, data):
    scores = data.draw(arrays.arrays(np.float32, len(boxes), elements=st.sampled_from([0.125, 0.25, 0.5, 0.75])))
    classes = data.draw(arrays.arrays(np.int64, len(boxes), elements=st.integers(0, 2)))
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes)
    expected = _batched_nms_vanilla(*tensors, threshold).numpy()
    found = suppress(boxes, scores, classes, threshold, max_boxes=1000)
    np.testing.assert_array_equal(np.sort(found), np.sort(expected))
    assert (np.diff(scores[found]) <= 0).all()
    np.testing.assert_array_equal(suppress(boxes, scores, classes, threshold, max_boxes=3), found[:3])


def test_equal_scores_keep_their_order():
    boxes = np.array([[0, 0, 4, 4], [10, 0, 14, 4], [1, 0, 5, 4], [20, 0, 24, 4]], np.float32)
    scores, classes = np.full(4, 0.5, np.float32), np.zeros(4, np.int64)
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5)
    np.testing.assert_array_equal(suppress(boxes, scores, classes, 0.5, 10), expected.numpy())


def test_an_iou_that_equals_the_threshold_is_above_it_only_as_torchvision_rounds():
    """3 / 5 as float32 is more than 0.6, and 7 / 10 is less than 0.7."""
    for width, threshold in ((3, 0.6), (7, 0.7), (1, 0.2)):
        whole = {0.6: 5, 0.7: 10, 0.2: 5}[threshold]
        boxes = np.array([[0, 0, whole, 1], [0, 0, width, 1]], np.float32)
        scores = np.array([0.9, 0.8], np.float32)
        expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).numpy()
        found = suppress(boxes, scores, np.zeros(2, np.int64), threshold, 10)
        np.testing.assert_array_equal(found, expected)


def test_boxes_as_of_a_detector_in_their_thousands():
    draws = np.random.default_rng(0)
    corner, side = draws.uniform(0, 900, (4000, 2)), draws.uniform(5, 200, (4000, 2))
    boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
    scores, classes = draws.uniform(size=4000).astype(np.float32), draws.integers(0, 3, 4000)
    tensors = torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes)
    expected = _batched_nms_vanilla(*tensors, 0.5).numpy()
    np.testing.assert_array_equal(suppress(boxes, scores, classes, 0.5, len(boxes)), expected)

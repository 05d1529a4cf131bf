"""Masks of regions are pasted as Detectron2 pastes them."""

import numpy as np
import torch
from detectron2.layers import paste_masks_in_image
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.export.decoding.regions import decode, paste_masks
from focalnet_d2.export.result import Sizes


@given(
    seed=st.integers(0, 10**6), cells=st.sampled_from([1, 3, 28]), height=st.integers(1, 90), width=st.integers(1, 90)
)
@settings(max_examples=60)
def test_masks_are_those_of_detectron2(seed, cells, height, width):
    draws = np.random.default_rng(seed)
    ends = np.array([width, height], np.float32)
    corners = draws.uniform(0, 1, (4, 2, 2)).astype(np.float32) * ends
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    boxes[0] = [0, 0, width, height]
    masks = draws.uniform(0, 1, (4, cells, cells)).astype(np.float32)
    found = paste_masks(masks, boxes, (height, width), 0.5)
    expected = paste_masks_in_image(torch.from_numpy(masks), torch.from_numpy(boxes), (height, width), 0.5).numpy()
    assert found.shape == expected.shape
    assert (found != expected).mean() <= 1e-3


def test_a_full_mask_fills_its_box():
    found = paste_masks(np.ones((1, 28, 28), np.float32), np.array([[2, 3, 8, 7]], np.float32), (10, 12), 0.5)
    expected = np.zeros((10, 12), bool)
    expected[3:7, 2:8] = True
    np.testing.assert_array_equal(found[0], expected)


def test_no_detections_have_no_masks():
    assert paste_masks(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), (5, 6), 0.5).shape == (0, 5, 6)


def test_what_is_missing_or_has_no_area_is_left_out_and_the_rest_is_scaled_and_clipped():
    outputs = {
        "boxes": np.array([[1, 2, 30, 8], [5, 5, 5, 9], [0, 0, 4, 4], [0, 0, 0, 0]], np.float32),
        "scores": np.array([0.9, 0.8, 0.7, 0.0], np.float32),
        "class_ids": np.array([3, 1, 2, 0]),
        "masks": np.ones((4, 2, 2), np.float32),
    }
    found = decode(outputs, {"mask_threshold": 0.5}, Sizes(padded=(32, 32), image=(10, 20), output=(20, 10)))
    np.testing.assert_allclose(found["boxes"], [[0.5, 4, 10, 16], [0, 0, 2, 8]])
    np.testing.assert_allclose(found["scores"], [0.9, 0.7], rtol=1e-6)
    assert found["class_ids"].tolist() == [3, 2]
    assert found["masks"].shape == (2, 20, 10)
    assert found["masks"][1].sum() == 16

"""What a picture of a large image shows: the same prediction at a fraction of its size."""

from unittest.mock import patch

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.class_map import class_map
from focalnet_d2.inference import picture_reduction
from focalnet_d2.inference.picture_reduction import reduced
from focalnet_d2.inference.prediction import Prediction

CLASSES = class_map([7, 9], ["balloon", "sky"], things=[True, False])


def prediction(height: int, width: int, seed: int) -> Prediction:
    draws = np.random.default_rng(seed)
    masks = draws.random((3, height, width)) < np.array([0.02, 0.5, 1])[:, None, None]
    return Prediction(
        draws.integers(0, 256, (height, width, 3)).astype(np.uint8),
        CLASSES,
        boxes=draws.random((3, 4), np.float32) * 9,
        masks=masks,
        panoptic_map=draws.integers(0, 5, (height, width)).astype(np.int32),
        semantic_map=draws.integers(0, 2, (height, width)).astype(np.int16),
    )


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(5, 40), st.integers(0, 999))
def test_maps_and_masks_are_those_of_every_nth_pixel(height, width, largest, seed):
    found = prediction(height, width, seed)
    step = -(-max(height, width) // largest)
    with patch.object(picture_reduction, "_ROWS", 2):
        small = reduced(found, largest)
    assert (small is found) == (step == 1)
    assert max(small.size) <= largest
    assert np.array_equal(small.panoptic_map, found.panoptic_map[::step, ::step])
    assert np.array_equal(small.semantic_map, found.semantic_map[::step, ::step])
    assert np.array_equal(np.asarray(small.masks), found.masks[:, ::step, ::step])
    assert np.allclose(small.boxes * step, found.boxes)
    assert small.size == small.panoptic_map.shape
    top, left = height // step * step, width // step * step  # the last means are of fewer pixels
    means = found.image[:top, :left].reshape(top // step, step, left // step, step, 3).mean((1, 3))
    assert np.abs(small.image[: top // step, : left // step] - means).max(initial=0) <= 1


def test_what_a_model_does_not_predict_stays_none():
    found = Prediction(np.zeros((9, 3, 3), np.uint8), CLASSES)
    small = reduced(found, 4)
    assert small.size == (3, 1)
    assert small.boxes is small.masks is small.panoptic_map is small.semantic_map is None

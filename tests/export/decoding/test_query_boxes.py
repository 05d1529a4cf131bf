"""Boxes of queries are decoded as `select_detections` does it in torch."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.export.decoding.query_boxes import decode
from focalnet_d2.export.result import Sizes
from focalnet_d2.set_prediction.postprocessing import select_detections
from tests.export.runtimes import assert_same_detections

SIDES = st.integers(1, 2000)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 7), st.floats(0, 1), st.booleans(), SIDES, SIDES)
def test_detections_are_those_of_torch(seed, queries, classes, share, clip, height, width):
    draws = np.random.default_rng(seed)
    logits = draws.normal(0, 3, (queries, classes)).astype(np.float32)
    boxes = np.concatenate([draws.uniform(-0.2, 1.2, (queries, 2)), draws.uniform(-0.1, 1, (queries, 2))], axis=1)
    boxes, num_select = boxes.astype(np.float32), max(1, round(share * queries * classes))
    found = decode(
        {"pred_logits": logits, "pred_boxes": boxes},
        {"num_select": num_select, "clip_boxes": clip},
        Sizes((64, 64), (50, 60), (height, width)),
    )
    expected = select_detections(
        torch.from_numpy(logits)[None], torch.from_numpy(boxes)[None], [(height, width)],
        num_select=num_select, clip_boxes=clip,
    )[0]  # fmt: skip
    assert_same_detections(found, expected)
    assert [values.dtype for values in found.values()] == [np.float32, np.float32, np.int64]


def test_half_precision_is_decoded_in_single():
    logits = np.array([[2.0, -np.inf]], np.float16)
    boxes = np.array([[0.5, 0.5, 0.25, 0.5]], np.float16)
    found = decode(
        {"pred_logits": logits, "pred_boxes": boxes},
        {"num_select": 2, "clip_boxes": False},
        Sizes((40, 80), (40, 80), (40, 80)),
    )
    np.testing.assert_allclose(found["boxes"], [[30, 10, 50, 30]] * 2)
    np.testing.assert_allclose(found["scores"], [1 / (1 + np.exp(-2)), 0], rtol=1e-6)

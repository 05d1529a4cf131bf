"""What exported classifiers decode, and the functions from logits to probabilities."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.export.decoding.activations import sigmoid, softmax
from focalnet_d2.export.decoding.classes import decode
from focalnet_d2.export.result import Sizes

LOGITS = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=9).map(
    lambda values: np.array(values, np.float32)
)


@given(LOGITS)
def test_class_scores_are_the_softmax(logits):
    found = decode({"logits": logits}, {}, Sizes((8, 8), (8, 8), (8, 8)))["class_scores"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.from_numpy(logits).softmax(0).numpy(), atol=1e-6)


@given(LOGITS)
def test_probabilities_are_those_of_torch(logits):
    np.testing.assert_allclose(sigmoid(logits), torch.from_numpy(logits).sigmoid().numpy(), atol=1e-6)


def test_half_precision_gives_float32():
    assert softmax(np.zeros((2, 3), np.float16)).dtype == np.float32

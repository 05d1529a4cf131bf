"""The probabilities of an image's classes: the classifier."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..result import Sizes
from .activations import softmax


def decode(outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """`class_scores` (K,) of one image of `logits` (K,)."""
    return {"class_scores": softmax(outputs["logits"])}

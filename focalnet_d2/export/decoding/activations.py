"""From logits to probabilities."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """(..., K) logits of any floating type -> (..., K) float32 probabilities that sum to 1."""
    logits = logits.astype(np.float32)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """float32 logits -> probabilities, 0 for a large negative one: (N, ...) -> (N, ...)."""
    probs = np.negative(logits)
    with np.errstate(over="ignore"):
        np.exp(probs, out=probs)
    probs += 1
    return np.reciprocal(probs, out=probs)

"""How class heads with a sigmoid start."""

import math


def prior_bias(prior: float = 0.01) -> float:
    """The bias with which a sigmoid starts at `prior` (arXiv:1708.02002, section 3.3)."""
    return -math.log((1 - prior) / prior)

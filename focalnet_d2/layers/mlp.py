"""Multi-layer perceptron of the prediction heads, and the bias with which a sigmoid starts at a prior."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from focalnet_d2.kernels.linear import linear_act


class MLP(nn.Module):
    """`num_layers` linear layers with ReLU between them."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int):
        super().__init__()
        widths = [in_dim, *[hidden_dim] * (num_layers - 1), out_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) -> (..., out_dim)."""
        *hidden, last = cast(Iterable[nn.Linear], self.layers)
        for layer in hidden:
            x = linear_act("relu", layer, x)
        return last(x)


def prior_bias(prior: float = 0.01) -> float:
    """The bias with which a sigmoid starts at `prior` (arXiv:1708.02002, section 3.3)."""
    return -math.log((1 - prior) / prior)

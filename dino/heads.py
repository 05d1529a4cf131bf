"""Prediction heads of encoder and decoder, as they start."""

import math

from torch import nn

from focalnet_d2.layers.mlp import MLP


def class_head(dim: int, num_classes: int, prior: float = 0.01) -> nn.Linear:
    """Linear head whose sigmoid starts at `prior` (arXiv:1708.02002, section 3.3): (..., C) -> (..., K)."""
    head = nn.Linear(dim, num_classes)
    nn.init.constant_(head.bias, -math.log((1 - prior) / prior))
    return head


def box_head(dim: int) -> MLP:
    """Three-layer MLP that starts by moving nothing: (..., C) -> (..., 4) changes of box logits."""
    head = MLP(dim, dim, 4, num_layers=3)
    nn.init.zeros_(head.layers[-1].weight)
    nn.init.zeros_(head.layers[-1].bias)
    return head

"""Prediction heads of encoder and decoder, as they start."""

from torch import nn

from focalnet_d2.layers.mlp import MLP, prior_bias


def class_head(dim: int, num_classes: int) -> nn.Linear:
    """Linear head that starts at a small probability for every class: (..., C) -> (..., K)."""
    head = nn.Linear(dim, num_classes)
    nn.init.constant_(head.bias, prior_bias())
    return head


def box_head(dim: int) -> MLP:
    """Three-layer MLP that starts by moving nothing: (..., C) -> (..., 4) changes of box logits."""
    head = MLP(dim, dim, 4, num_layers=3)
    for parameter in head.layers[-1].parameters():
        nn.init.zeros_(parameter)
    return head

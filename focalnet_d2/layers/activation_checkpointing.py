"""Activation checkpointing of one layer."""

from typing import cast

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def maybe_checkpoint(layer: nn.Module, *arguments, recompute: bool) -> Tensor:
    """`layer(*arguments)`, any shape; with `recompute`, in training, the backward pass computes its activations again.

    The result is the layer's, of whatever shape.
    """
    if recompute and layer.training:
        return cast(Tensor, checkpoint(layer, *arguments, use_reentrant=False))
    return layer(*arguments)

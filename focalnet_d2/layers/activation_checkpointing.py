"""Activation checkpointing of one layer."""

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def maybe_checkpoint(layer: nn.Module, *arguments, recompute: bool) -> Tensor:
    """`layer(*arguments)`; with `recompute`, in training, its activations are computed again in the backward pass."""
    if recompute and layer.training:
        return checkpoint(layer, *arguments, use_reentrant=False)
    return layer(*arguments)

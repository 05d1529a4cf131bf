"""What one layer keeps of its activations for the backward pass."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from focalnet_d2.kernels.recomputing import keep, keeping_less


def maybe_checkpoint(layer: nn.Module, *arguments, recompute: bool) -> Tensor:
    """`layer(*arguments)`, any shape; with `recompute`, in training, the backward pass computes its activations again.

    Otherwise only what `recomputed` says of itself is computed again. The result is the layer's, of whatever shape.
    """
    if recompute and layer.training:
        return cast(Tensor, checkpoint(layer, *arguments, use_reentrant=False))
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return layer(*arguments)
    sharded = any(type(parameter) is not nn.Parameter for parameter in layer.parameters())
    with keeping_less():
        result = layer(*arguments)
    if sharded:  # its weights are gone when other layers would ask for its result
        keep(result)
    return cast(Tensor, result)

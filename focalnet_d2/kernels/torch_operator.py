"""Deformable attention as operators that torch knows, for implementations of both directions.

As operators they have shapes without values and a gradient, so `torch.compile`, fake tensors and flop counters can
handle them.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_ARGUMENTS = "Tensor value, SymInt[] sides, Tensor locations, Tensor weights"


def define_operator(name: str, forward: Callable, backward: Callable, device_type: str) -> Callable[..., Tensor]:
    """Makes `focalnet_d2::NAME` and `focalnet_d2::NAME_backward`; returns the first, which can be differentiated once.

    Args:
        forward: (B, N, M, D) value, sides (h, w, h, w, ...) of the levels, (B, Q, M, L, P, 2) locations and
            (B, Q, M, L, P) weights -> (B, Q, M*D).
        backward: the same with the output's gradient -> gradients of value, locations and weights.
        device_type: whose tensors they take; "default" for all.
    """
    there, back = f"focalnet_d2::{name}", f"focalnet_d2::{name}_backward"
    torch.library.define(there, f"({_ARGUMENTS}) -> Tensor")
    torch.library.define(back, f"({_ARGUMENTS}, Tensor grad) -> (Tensor, Tensor, Tensor)")
    torch.library.impl(there, device_type, forward)
    torch.library.impl(back, device_type, backward)
    torch.library.register_fake(there, _forward_shape)
    torch.library.register_fake(back, _backward_shapes)
    operators = torch.ops.focalnet_d2

    def differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        gradients = getattr(operators, f"{name}_backward")(value, ctx.sides, locations, weights, grad)
        return gradients[0], None, *gradients[1:]

    def refuse(ctx, *grads: Tensor) -> None:
        raise RuntimeError(f"{name} of focalnet_d2 can be differentiated once only.")

    torch.library.register_autograd(there, differentiate, setup_context=_keep)
    torch.library.register_autograd(back, refuse)
    return getattr(operators, name)


def _forward_shape(value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


def _backward_shapes(value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor, grad: Tensor):
    return tuple(one.new_empty(one.shape) for one in (value, locations, weights))


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    value, ctx.sides, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)

"""Attention under a mask that several heads may share.

Shapes: Q queries, N keys, C channels of a head; leading dimensions (...) are those of images and heads.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import Computation, Implementation, makes_graph


def _by_two_products(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
    """(..., Q, C), twice (..., N, C), (..., Q, N) bool -> (..., Q, C).

    On CPUs that is half of the time of torch's kernel in training and less in inference, and equal to it but for
    rounding; the weights of all pairs are kept for the backward pass.
    """
    return _weights(query, key, attn_mask) @ value


def _weights(query: Tensor, key: Tensor, attn_mask: Tensor | None) -> Tensor:
    """(..., Q, C), (..., N, C), (..., Q, N) bool -> (..., Q, N), which add up to 1."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if attn_mask is not None:  # a sum for all heads is much faster than filling each
        scores = scores + scores.new_zeros(attn_mask.shape).masked_fill_(attn_mask, -torch.inf)
    return scores.softmax(-1)


class _Attention(torch.autograd.Function):
    """`_by_two_products`, whose weights are computed again for the backward pass."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
        """(..., Q, C), twice (..., N, C), (..., Q, N) bool -> (..., Q, C)."""
        ctx.save_for_backward(query, key, value, attn_mask)
        ctx.autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        return _by_two_products(query, key, value, attn_mask)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        """(..., Q, C) -> (..., Q, C), twice (..., N, C)."""
        query, key, value, attn_mask = ctx.saved_tensors
        enabled, dtype = ctx.autocast
        with torch.autocast("cpu", dtype, enabled=enabled):
            weights = _weights(query, key, attn_mask)
            value_grad = weights.transpose(-2, -1) @ grad
            weight_grad = (grad @ value.transpose(-2, -1)).to(weights.dtype)
            scale = query.shape[-1] ** -0.5
            score_grad = torch.ops.aten._softmax_backward_data(weight_grad, weights, -1, weights.dtype)
            query_grad = (score_grad @ key) * scale
            key_grad = score_grad.transpose(-2, -1) @ (query * scale)
        return query_grad.to(query.dtype), key_grad.to(key.dtype), value_grad.to(value.dtype), None


def _differentiates(query: Tensor) -> bool:
    return torch.is_grad_enabled() and not makes_graph()


def _by_torch(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
    """(..., Q, C), twice (..., N, C), (..., Q, N) bool -> (..., Q, C)."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=None if attn_mask is None else ~attn_mask)


MASKED_ATTENTION = Computation(
    "masked attention",
    (
        Implementation(
            "recomputed",
            _Attention.apply,
            "two matrix products, and again for the backward pass",
            devices=("cpu",),
            suits=_differentiates,
        ),
        Implementation("two_products", _by_two_products, "two matrix products", devices=("cpu",)),
        Implementation("torch", _by_torch, "scaled_dot_product_attention"),
    ),
)


def masked_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Sums of values, weighted by the softmax of scaled products of queries and keys.

    Args:
        query: (..., Q, C).
        key, value: (..., N, C).
        attn_mask: (..., Q, N) bool, True = a query does not see that key; may broadcast over the leading dimensions.

    Returns:
        (..., Q, C).
    """
    return MASKED_ATTENTION.choose(query.device.type, query.dtype, query).compute(query, key, value, attn_mask)

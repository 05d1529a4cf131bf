"""Linear layers with their activation as one product of oneDNN.

torch adds a bias by copying it into the result before the product, and an activation is one more pass over memory. The
operator of oneDNN that `torch.compile` uses does both while a tile of the product is at hand. It is taken where torch's
own products go to oneDNN too (see `focalnet_d2.engine.cpu_matmul`), and agrees with the plain form to rounding: 1e-6 in
float32. With gradients `fused_linear` takes only the bias within the product, and a GELU is the compiled one, which is
nearer to float64 than torch's. Elsewhere the plain form is computed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .compiled_focal_context import gelu, supports
from .onednn_matmul import onednn_multiplies_float32

ROWS_AT_ONCE = 2048  # of a feed-forward network; 16 MB of 2048 hidden channels

_TALL = 2  # rows by outputs, from which on a turned product was measured to be the faster weight gradient
_PLAIN = {"none": lambda x: x, "relu": torch.relu, "gelu": F.gelu}
_ALGORITHM = {"none": "", "relu": "", "gelu": "none"}  # of oneDNN; "none" is the exact GELU


def linear_with(activation: str, layer: nn.Linear, x: Tensor) -> Tensor:
    """`activation(layer(x))` for "none", "relu" or "gelu", with gradients plain: (..., C_in) -> (..., C_out)."""
    if torch.is_grad_enabled():
        return _PLAIN[activation](layer(x))
    return fused_linear(x, layer.weight, layer.bias, activation)


def fused_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """`activation(F.linear(x, weight, bias))`; with gradients differentiable once."""
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    if not _fuses(x, dtype):
        return _PLAIN[activation](F.linear(x, weight, bias))
    x, weight = x.to(dtype), weight.to(dtype)
    if torch.is_grad_enabled():
        y = _Linear.apply(x, weight, bias)
        return gelu(y) if activation == "gelu" and supports("cpu", dtype) else _PLAIN[activation](y)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], _ALGORITHM[activation])


class _Linear(torch.autograd.Function):
    """The bias may be of a wider type, to which its gradient is converted."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        x, weight = ctx.saved_tensors
        rows, grads = x.flatten(0, -2), grad.flatten(0, -2)  # (N, C_in) and (N, C_out)
        x_grad = weight_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (grads @ weight).view(x.shape)
        if ctx.needs_input_grad[1]:
            outputs, inputs = weight.shape
            turned = outputs > inputs and len(rows) > _TALL * outputs
            weight_grad = (rows.T @ grads).T if turned else grads.T @ rows
        if ctx.needs_input_grad[2]:
            bias_grad = grads.sum(0)
        return x_grad, weight_grad, bias_grad


def feed_forward(
    linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout, activation: str = "relu"
) -> Tensor:
    """`linear2(dropout(activation(linear1(x))))`: (..., C) -> (..., C).

    Without gradients a CPU takes the rows in parts, so that the hidden values stay in its cache.
    """
    if torch.is_grad_enabled() or not _is_plain(x):
        return linear_with("none", linear2, dropout(linear_with(activation, linear1, x)))
    parts = x.flatten(0, -2).split(ROWS_AT_ONCE)
    outputs = [linear_with("none", linear2, dropout(linear_with(activation, linear1, part))) for part in parts]
    return torch.cat(outputs).view(*x.shape[:-1], -1)


def _is_plain(x: Tensor) -> bool:
    """On a CPU and with these very numbers: nothing traces, no tensor without values."""
    return x.device.type == "cpu" and type(x) is Tensor and x.numel() > 0 and not torch.compiler.is_compiling()


def _fuses(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether torch multiplies this type by oneDNN here, and its fused product is there."""
    if not _is_plain(x) or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 and onednn_multiplies_float32()

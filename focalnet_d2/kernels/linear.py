"""Linear layers with their activation as one product of oneDNN.

torch adds a bias by copying it into the result before the product, and an activation is one more pass over memory. The
operator of oneDNN that `torch.compile` uses does both while a tile of the product is at hand. It is taken where torch's
own products go to oneDNN too (see `cpu_matmul`), and agrees with plain torch to rounding: 1e-6 in float32. With
gradients a layer takes only the bias within the product, and the GELU of a feed-forward network is the compiled one,
which is nearer to float64 than torch's. Elsewhere it is plain torch.

Shapes: N rows, C channels.
"""

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cpu_matmul import onednn_multiplies_float32
from .dispatch import Computation, Implementation
from .focal_context_cpp import DTYPES, LIBRARY, gelu, gelu_and_gradient
from .recomputing import cast

ROWS_AT_ONCE = 2048  # of a feed-forward network; 16 MB of 2048 hidden channels
NARROW = 192  # input channels of a feed-forward network up to which its first product is cheaper than its memory
ROWS_OF_A_STEP = 256  # at most, of one in a loop of an exported graph; the fastest of 128 to 2048 in onnxruntime

_TALL = 2  # rows by outputs, from which on a turned product was measured to be the faster weight gradient
_PLAIN = {"none": lambda x: x, "relu": torch.relu, "gelu": F.gelu}
_ALGORITHM = {"none": "", "relu": "", "gelu": "none"}  # of oneDNN; "none" is the exact GELU
_ONEDNN_DTYPES = (torch.float32, torch.bfloat16)
_HAS_FUSED_PRODUCT = hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear_act(activation: str, layer: nn.Linear, x: Tensor) -> Tensor:
    """`activation(layer(x))` for "none", "relu" or "gelu", with gradients plain: (..., C_in) -> (..., C_out)."""
    if torch.is_grad_enabled():
        return _PLAIN[activation](layer(x))
    return fused_linear(x, layer.weight, layer.bias, activation)


def fused_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """`activation(F.linear(x, weight, bias))`; with gradients differentiable once.

    Args:
        x: (..., C_in).
        weight: (C_out, C_in).
        bias: (C_out,).
        activation: "none", "relu" or "gelu".

    Returns:
        (..., C_out).
    """
    dtype = _product_type(x)
    return LINEAR.choose(x.device.type, dtype, x, dtype).compute(x, weight, bias, activation, dtype)


def _linear_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, dtype: torch.dtype) -> Tensor:
    """(..., C_in), (C_out, C_in), (C_out,) -> (..., C_out)."""
    x, weight = cast(x, dtype), weight.to(dtype)
    if torch.is_grad_enabled():
        return _PLAIN[activation](_Linear.apply(x, weight, bias))
    return _product(x, weight, bias, activation)


def _linear_by_torch(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str, dtype: torch.dtype) -> Tensor:
    """(..., C_in), (C_out, C_in), (C_out,) -> (..., C_out)."""
    return _PLAIN[activation](F.linear(x, weight, bias))


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """(..., C_in), (C_out, C_in), (C_out,) -> (..., C_out), all of one type but the bias."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], _ALGORITHM[activation])


def _product_type(x: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class _Linear(torch.autograd.Function):
    """The bias may be of a wider type, to which its gradient is converted."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(..., C_in), (C_out, C_in), (C_out,) -> (..., C_out)."""
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        """(..., C_out) -> gradients of input, weight and bias; None where nobody needs it."""
        x, weight = ctx.saved_tensors
        rows, grads = x.flatten(0, -2), grad.flatten(0, -2)  # (N, C_in) and (N, C_out)
        x_grad = weight_grad = bias_grad = None
        if ctx.needs_input_grad[0]:
            x_grad = (grads @ weight).view(x.shape)
        if ctx.needs_input_grad[1]:
            weight_grad = _weight_grad(rows, grads)
        if ctx.needs_input_grad[2]:
            bias_grad = grads.sum(0)
        return x_grad, weight_grad, bias_grad


def _weight_grad(rows: Tensor, grads: Tensor) -> Tensor:
    """(N, C_in), (N, C_out) -> (C_out, C_in)."""
    turned = grads.shape[1] > rows.shape[1] and len(rows) > _TALL * grads.shape[1]
    return (rows.T @ grads).T if turned else grads.T @ rows


def feed_forward(
    linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout, activation: str = "relu"
) -> Tensor:
    """`linear2(dropout(activation(linear1(x))))`: (..., C) -> (..., C), with gradients differentiable once.

    A CPU takes the rows in parts, so that the hidden values stay in its cache. For the backward pass it keeps them
    once: behind a ReLU, or before a GELU, which is then computed again. With up to `NARROW` channels C it computes them
    again from the start.
    """
    dtype = _product_type(x)
    chosen = FEED_FORWARD.choose(x.device.type, dtype, x, dtype, dropout)
    return chosen.compute(linear1, linear2, x, dropout, activation)


def _feed_forward_as_one(
    linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout, activation: str
) -> Tensor:
    """(..., C) -> (..., C), for a backward pass in parts."""
    dtype = _product_type(x)
    weights = linear1.weight.to(dtype), linear1.bias, linear2.weight.to(dtype), linear2.bias
    return _FeedForward.apply(cast(x, dtype), *weights, activation)


def _feed_forward_in_parts(
    linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout, activation: str
) -> Tensor:
    """(..., C) -> (..., C), some rows after the others."""
    parts = x.flatten(0, -2).split(ROWS_AT_ONCE)
    outputs = [_feed_forward_by_layers(linear1, linear2, part, dropout, activation) for part in parts]
    return torch.cat(outputs).view(*x.shape[:-1], -1)


def _feed_forward_by_layers(
    linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout, activation: str
) -> Tensor:
    """(..., C) -> (..., C)."""
    return linear_act("none", linear2, dropout(linear_act(activation, linear1, x)))


def _feed_forward_in_loop(
    linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout, activation: str
) -> Tensor:
    """(..., C) -> (..., C), without dropout: equally many rows at each step of a loop that tracers keep."""
    rows = x.reshape(-1, x.shape[-1])  # (N, C)
    steps = rows.shape[0] // ROWS_OF_A_STEP + 1
    of_step = (rows.shape[0] + steps - 1) // steps
    padded = F.pad(rows, (0, 0, 0, steps * of_step - rows.shape[0])).reshape(steps, of_step, rows.shape[1])
    weights = linear1.weight.t(), linear1.bias, linear2.weight.t(), linear2.bias
    outputs = _feed_forward_by_steps(padded, *weights, activation == "gelu")  # (S, R, C)
    return outputs.reshape(-1, rows.shape[1])[: rows.shape[0]].view(x.shape)


@torch.jit.script_if_tracing
def _feed_forward_by_steps(
    rows: Tensor, weight1: Tensor, bias1: Tensor, weight2: Tensor, bias2: Tensor, gelu: bool
) -> Tensor:
    """S steps of R rows (S, R, C), (C, hidden), (hidden,), (hidden, C), (C,) -> (S, R, C)."""
    outputs: list[Tensor] = []
    for step in range(rows.shape[0]):
        hidden = torch.matmul(rows[step], weight1) + bias1
        hidden = F.gelu(hidden) if gelu else torch.relu(hidden)
        outputs.append(torch.matmul(hidden, weight2) + bias2)
    return torch.stack(outputs)


class _FeedForward(torch.autograd.Function):
    """Two layers with an activation between. The biases may be of a wider type; parts add up in float32 at least."""

    @staticmethod
    def forward(ctx, x, weight1, bias1, weight2, bias2, activation: str) -> Tensor:
        """(..., C), (hidden, C), (hidden,), (C, hidden), (C,) -> (..., C)."""
        ctx.activation, ctx.within = activation, "none" if activation == "gelu" else activation
        rows = x.flatten(0, -2)  # (N, C)
        if rows.shape[1] <= NARROW:
            kept, parts = None, (_product(part, weight1, bias1, ctx.within) for part in rows.split(ROWS_AT_ONCE))
        else:
            kept = _product(rows, weight1, bias1, ctx.within)  # (N, hidden)
            parts = iter(kept.split(ROWS_AT_ONCE))
        ctx.save_for_backward(rows, weight1, bias1, weight2, kept)
        hidden = (_gelu(part) if activation == "gelu" else part for part in parts)
        return torch.cat([_product(part, weight2, bias2) for part in hidden]).view(*x.shape[:-1], -1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        """(..., C) -> gradients of input, weights and biases."""
        rows, weight1, bias1, weight2, kept = ctx.saved_tensors
        grads, x_grad, totals = grad.flatten(0, -2), torch.empty_like(rows), []
        parts = (one.split(ROWS_AT_ONCE) for one in (rows, grads, x_grad))
        known = kept.split(ROWS_AT_ONCE) if kept is not None else itertools.repeat(None)
        for x, upstream, result, between in zip(*parts, known):
            between = _product(x, weight1, bias1, ctx.within) if between is None else between
            hidden, inner = _DIFFERENTIATE[ctx.activation](between, upstream @ weight2)  # (n, hidden) each
            torch.mm(inner, weight1, out=result)
            found = [_weight_grad(x, inner), inner.sum(0), _weight_grad(hidden, upstream), upstream.sum(0)]
            totals = [total.float() + one for total, one in zip(totals, found, strict=True)] if totals else found
        return x_grad.view(*grad.shape[:-1], -1), *totals, None


def _gelu_and_gradient_by_torch(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """(...), (...) -> GELU (...), gradient of x (...)."""
    return F.gelu(x), torch.ops.aten.gelu_backward(grad, x)


_COMPILED: dict[str, Any] = dict(devices=("cpu",), dtypes=DTYPES, unavailable_reason=LIBRARY.unavailable_reason)
GELU = Computation(
    "GELU",
    (
        Implementation("compiled", gelu, "C++, compiled here on first use", **_COMPILED),
        Implementation("torch", F.gelu, "torch's GELU"),
    ),
)
GELU_AND_GRADIENT = Computation(
    "GELU and its gradient",
    (
        Implementation("compiled", gelu_and_gradient, "C++, compiled here on first use", **_COMPILED),
        Implementation("torch", _gelu_and_gradient_by_torch, "torch's GELU"),
    ),
)


def _gelu(x: Tensor) -> Tensor:
    """(...) -> (...), without a gradient."""
    return GELU.choose(x.device.type, x.dtype).compute(x)


def _gelu_and_gradient(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """(...), (...) -> GELU (...), gradient of x (...)."""
    return GELU_AND_GRADIENT.choose(x.device.type, x.dtype).compute(x, grad)


def _relu_and_gradient(hidden: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    return hidden, torch.ops.aten.threshold_backward(grad, hidden, 0)


_DIFFERENTIATE = {"relu": _relu_and_gradient, "gelu": _gelu_and_gradient}


def _is_plain(x: Tensor) -> bool:
    """With these very numbers: nothing traces, no tensor without values."""
    return type(x) is Tensor and x.numel() > 0 and not torch.compiler.is_compiling()


def _fuses(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether torch multiplies this type by oneDNN here, and its fused product is there."""
    if not _HAS_FUSED_PRODUCT or not _is_plain(x):
        return False
    if dtype == torch.bfloat16:
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return onednn_multiplies_float32()


def _differentiates_as_one(x: Tensor, dtype: torch.dtype, dropout: nn.Dropout) -> bool:
    return torch.is_grad_enabled() and _fuses(x, dtype) and not (dropout.training and dropout.p)


LINEAR = Computation(
    "linear layer",
    (
        Implementation("onednn", _linear_by_onednn, "oneDNN's fused product", ("cpu",), _ONEDNN_DTYPES, suits=_fuses),
        Implementation("torch", _linear_by_torch, "torch's operators"),
    ),
)
FEED_FORWARD = Computation(
    "feed-forward network",
    (
        Implementation(
            "as_one",
            _feed_forward_as_one,
            "one function that keeps its hidden values once",
            devices=("cpu",),
            dtypes=_ONEDNN_DTYPES,
            suits=_differentiates_as_one,
        ),
        Implementation(
            "in_parts",
            _feed_forward_in_parts,
            "some rows after the others",
            devices=("cpu",),
            suits=lambda x, dtype, dropout: not torch.is_grad_enabled() and _is_plain(x),
        ),
        Implementation("by_layers", _feed_forward_by_layers, "one layer after the other"),
        Implementation("in_loop", _feed_forward_in_loop, "for onnxruntime: a loop over some rows"),
    ),
    portable="by_layers",
)


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution as the product that it is, without another layout: (B, C_in, H, W) -> (B, C_out, H, W)."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)

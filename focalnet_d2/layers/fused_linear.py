"""Linear layers with their activation as one product of oneDNN.

torch adds a bias by copying it into the result before the product, and an activation is one more pass over memory. The
operator of oneDNN that `torch.compile` uses does both while a tile of the product is at hand. It is taken without
gradients, where torch's own products go to oneDNN too (see `focalnet_d2.engine.cpu_matmul`), and agrees with the plain
form to rounding: 1e-6 in float32. Elsewhere the plain form is computed.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS_AT_ONCE = 2048  # of a feed-forward network; 16 MB of 2048 hidden channels

_PLAIN = {"none": lambda x: x, "relu": torch.relu, "gelu": F.gelu}
_ALGORITHM = {"none": "", "relu": "", "gelu": "none"}  # of oneDNN; "none" is the exact GELU


def linear_with(activation: str, layer: nn.Linear, x: Tensor) -> Tensor:
    """`activation(layer(x))` for "none", "relu" or "gelu": (..., C_in) -> (..., C_out)."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if not _fuses(x, dtype):
        return _PLAIN[activation](layer(x))
    weight, bias = layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
    return torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, activation, [], _ALGORITHM[activation])


def feed_forward(linear1: nn.Linear, linear2: nn.Linear, x: Tensor, dropout: nn.Dropout) -> Tensor:
    """`linear2(dropout(relu(linear1(x))))`: (..., C) -> (..., C).

    Without gradients a CPU takes the rows in parts, so that the hidden values stay in its cache.
    """
    if not _is_plain_inference(x):
        return linear2(dropout(linear_with("relu", linear1, x)))
    parts = x.flatten(0, -2).split(ROWS_AT_ONCE)
    outputs = [linear_with("none", linear2, dropout(linear_with("relu", linear1, part))) for part in parts]
    return torch.cat(outputs).view(*x.shape[:-1], -1)


def _is_plain_inference(x: Tensor) -> bool:
    """On a CPU, without gradients, and with these very numbers: nothing traces, no tensor without values."""
    return (
        x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and type(x) is Tensor
        and x.numel() > 0
        and not torch.compiler.is_compiling()
    )


def _fuses(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether torch multiplies this type by oneDNN here, and its fused product is there."""
    if not _is_plain_inference(x) or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32 and _onednn_multiplies_float32()


def _onednn_multiplies_float32() -> bool:
    if not torch.backends.mkldnn.is_available():
        return False
    if hasattr(torch.backends.mkldnn, "matmul"):  # torch 2.9 and later
        return torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    return torch.get_float32_matmul_precision() == "medium"

"""Depthwise convolution whose weight gradient is a convolution, too.

The gradient of tap (i, j) of channel c is the sum over all positions of x[y + i, x + j] * g[y, x]: a depthwise
convolution of the input with the output's gradient as the kernel, of which only k x k positions are asked for. oneDNN
keeps those few sums in registers, which for kernels from 5 on takes a half to a tenth of the time of its own weight
gradient (`benchmarks/run.py backbone`).

Shapes: B images, C channels, H x W positions, kernel k.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import Computation, Implementation

_SMALLEST_KERNEL = 5
_TILE = (16, 128)  # rows and columns of a part: bounds the kernels' size and number, and the rounding of long sums
_MEASURED = ("AVX2", "AVX512")  # instruction sets


class _DepthwiseConv(torch.autograd.Function):
    """The convolution, with both gradients as convolutions."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        """(B, C, H, W), (C, 1, k, k) -> (B, C, H, W)."""
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        """(B, C, H, W) -> (B, C, H, W), (C, 1, k, k); None where nobody needs it."""
        x, weight = ctx.saved_tensors
        x_grad = weight_grad = None
        if ctx.needs_input_grad[0]:
            padding, channels, mask = weight.shape[-1] // 2, len(weight), [True, False, False]
            x_grad, _, _ = torch.ops.aten.convolution_backward(
                grad, x, weight, None, [1, 1], [padding, padding], [1, 1], False, [0, 0], channels, mask
            )
        if ctx.needs_input_grad[1]:
            weight_grad = _weight_gradient(x, grad, weight.shape[-1])
        return x_grad, weight_grad


def _weight_gradient(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """(B, C, H, W) input and output gradient -> (C, 1, k, k)."""
    padding, (rows, columns) = kernel // 2, _TILE
    x = F.pad(x, (padding,) * 4)
    total = x.new_zeros(1, x.shape[1], kernel, kernel)
    for image, image_grad in zip(x.split(1), grad.split(1), strict=True):
        for top in range(0, grad.shape[2], rows):
            for left in range(0, grad.shape[3], columns):
                part = image_grad[:, :, top : top + rows, left : left + columns]
                bottom, right = top + part.shape[2] + 2 * padding, left + part.shape[3] + 2 * padding
                window = image[:, :, top:bottom, left:right]  # (1, C, h + k - 1, w + k - 1)
                total = total + F.conv2d(window, part.transpose(0, 1), groups=x.shape[1])  # (1, C, k, k)
    return total.transpose(0, 1)


def _gradient_is_faster(x: Tensor, weight: Tensor) -> bool:
    """Whether this weight gradient is asked for and was measured to be faster for such tensors on such a processor."""
    return (
        torch.is_grad_enabled()
        and weight.requires_grad
        and weight.dtype is torch.float32
        and weight.shape[-1] >= _SMALLEST_KERNEL
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # its parts would be those of one image size
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() in _MEASURED
    )


def _by_conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W), (C, 1, k, k) -> (B, C, H, W)."""
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=len(weight))


def _with_convolved_gradient(x: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W), (C, 1, k, k) -> (B, C, H, W), differentiable once."""
    return _DepthwiseConv.apply(x, weight)


DEPTHWISE_CONV = Computation(
    "depthwise convolution",
    (
        Implementation(
            "convolved_gradient",
            _with_convolved_gradient,
            "its weight gradient is a convolution, too",
            devices=("cpu",),
            dtypes=(torch.float32,),
            suits=_gradient_is_faster,
        ),
        Implementation("conv2d", _by_conv2d, "torch's convolution"),
    ),
)


def depthwise_conv(x: Tensor, weight: Tensor) -> Tensor:
    """`conv2d` of each channel with its own odd kernel, zeros around; where that is faster, differentiable once only.

    Args:
        x: (B, C, H, W), channels last in memory to be fast.
        weight: (C, 1, k, k) of the type of `x`, or of another one under autocast.

    Returns:
        (B, C, H, W).
    """
    return DEPTHWISE_CONV.choose(x.device.type, x.dtype, x, weight).compute(x, weight)

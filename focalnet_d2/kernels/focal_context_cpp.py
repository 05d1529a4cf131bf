"""The local focal context and GELU by a small C++ library (focal_context.cpp), as operators that torch knows.

float32 and float64 are computed in themselves, bfloat16 in float32; kernels and their gradients are never narrower than
float32. Values and gradients are those of torch's operators to the rounding of the type. Threads share the channels, so
that their number changes no bit.

Shapes: B images, H x W positions, C channels, L focal levels.
"""

import ctypes
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from .compiler import CompiledLibrary, run_all, steps
from .recomputing import may_recompute

LIBRARY = CompiledLibrary(Path(__file__).with_name("focal_context.cpp"))
PRODUCTS_FOR_A_THREAD = 20_000_000  # about a millisecond
NUMBERS_FOR_A_THREAD = 2_000_000

_C_NAMES = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "bfloat16"}
DTYPES = tuple(_C_NAMES)  # that the library computes

torch.library.define(
    "focalnet_d2::focal_context",
    "(Tensor context, Tensor gates, Tensor[] kernels, bool keep) -> (Tensor local, Tensor pooled, Tensor sums)",
)
torch.library.define(
    "focalnet_d2::focal_context_backward",
    "(Tensor context, Tensor gates, Tensor[] kernels, Tensor sums, Tensor local_grad, Tensor pooled_grad)"
    " -> (Tensor context_grad, Tensor gate_grad, Tensor[] kernel_grads)",
)

OPERATOR = torch.ops.focalnet_d2.focal_context


def focal_context_cpp(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The sums of `focal_context` on the CPU, differentiable once.

    Args:
        context: (B, H, W, C).
        gates: (B, H, W, L).
        kernels: L of shape (C, 1, k, k) with k odd, at least one.

    Returns:
        (B, H, W, C) sum and (B, C) mean.

    Raises:
        ValueError: shapes that do not fit each other, which would have the library read other memory.
    """
    batch, height, width, channels = context.shape
    squares = [(channels, 1, kernel.shape[-1] | 1, kernel.shape[-1] | 1) for kernel in kernels]
    if gates.shape != (batch, height, width, len(kernels)) or squares != [tuple(k.shape) for k in kernels]:
        shapes = [tuple(kernel.shape) for kernel in kernels]
        raise ValueError(f"Gates {tuple(gates.shape)} and kernels {shapes} do not fit context {tuple(context.shape)}.")
    computed = torch.promote_types(context.dtype, torch.float32)
    differentiable = torch.is_grad_enabled() and any(one.requires_grad for one in (context, gates, *kernels))
    keep = differentiable and not may_recompute()
    local, pooled, _ = OPERATOR(context, gates.to(context.dtype), [kernel.to(computed) for kernel in kernels], keep)
    return local, (pooled / (height * width)).to(context.dtype)


def gelu(x: Tensor) -> Tensor:
    """The exact GELU on the CPU of a tensor of one of `DTYPES` and any shape, without a gradient."""
    return _elementwise("gelu_forward", 1, x)[0]


def gelu_and_gradient(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """`gelu(x)`, and the gradient of x from that of the GELU, for little more than either: two tensors of one shape.

    (...), (...) -> (...), (...).
    """
    result, x_grad = _elementwise("gelu_backward", 2, x, grad)
    return result, x_grad


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64) for name in ("batch", "height", "width", "channels", "levels", "context", "gate")
    ]


_TENSORS = (
    "context",
    "gates",
    "kernel_sizes",
    "kernels",
    "sums",
    "local",
    "pooled",
    "context_grad",
    "gate_grad",
    "kernel_grads",
)


class _Tensors(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _TENSORS]


def _run(
    name: str,
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    kernel_grads: Sequence[Tensor] = (),
    **others: Tensor,
) -> None:
    """Calls a function of the library for all blocks of channels, in threads where that is worth it."""
    context, gates = _rows(context), _rows(gates)
    kernels = [kernel.contiguous() for kernel in kernels]
    sizes = _Sizes(*context.shape, len(kernels), context.stride(2), gates.stride(2))
    kernel_sizes = (ctypes.c_int64 * len(kernels))(*(kernel.shape[-1] for kernel in kernels))
    addresses = {"context": context.data_ptr(), "gates": gates.data_ptr()}
    lists = {"kernels": _addresses(kernels), "kernel_grads": _addresses(kernel_grads)}
    lists["kernel_sizes"] = kernel_sizes
    addresses |= {key: ctypes.addressof(value) for key, value in lists.items()}
    addresses |= {key: tensor.data_ptr() for key, tensor in others.items()}
    tensors, function = _Tensors(**addresses), _function(name, context.dtype)

    def run(first: int, last: int) -> None:
        function(ctypes.byref(sizes), ctypes.byref(tensors), ctypes.c_int64(first), ctypes.c_int64(last))

    products = context.numel() * sum(kernel.shape[-1] ** 2 for kernel in kernels)
    run_all(run, pairwise(steps(_blocks(context), min(torch.get_num_threads(), products // PRODUCTS_FOR_A_THREAD))))


@torch.library.impl("focalnet_d2::focal_context", "cpu")
def _forward(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    results = _forward_shapes(context, gates, kernels, keep)
    others = dict(zip(("local", "pooled", "sums"), results, strict=True))
    if not keep:
        del others["sums"]
    _run("forward", context, gates, kernels, **others)
    return results


@torch.library.impl("focalnet_d2::focal_context_backward", "cpu")
def _backward(
    context: Tensor,
    gates: Tensor,
    kernels: Sequence[Tensor],
    sums: Tensor,
    local_grad: Tensor,
    pooled_grad: Tensor,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    context_grad = torch.empty_like(context, memory_format=torch.contiguous_format)
    gate_grads = pooled_grad.new_empty(_blocks(context), *gates.shape)
    kernel_grads = [torch.empty_like(kernel, memory_format=torch.contiguous_format) for kernel in kernels]
    _run(
        "backward",
        context,
        gates,
        kernels,
        sums=sums,
        local=local_grad.contiguous(),
        pooled=pooled_grad.contiguous(),
        context_grad=context_grad,
        gate_grad=gate_grads,
        kernel_grads=kernel_grads,
    )
    return context_grad, gate_grads.sum(0).to(gates.dtype), kernel_grads


@torch.library.register_fake("focalnet_d2::focal_context")
def _forward_shapes(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], keep: bool):
    batch, height, width, channels = context.shape
    kept = (batch, _blocks(context), len(kernels), height, width, _lanes(context.dtype)) if keep else (0,)
    pooled = context.new_empty(batch, channels, dtype=kernels[0].dtype)
    return context.new_empty(context.shape), pooled, context.new_empty(kept)


@torch.library.register_fake("focalnet_d2::focal_context_backward")
def _backward_shapes(context: Tensor, gates: Tensor, kernels: Sequence[Tensor], sums, local_grad, pooled_grad):
    return context.new_empty(context.shape), gates.new_empty(gates.shape), [k.new_empty(k.shape) for k in kernels]


def _keep(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    context, gates, kernels, _ = inputs
    ctx.save_for_backward(context, gates, output[2], *kernels)
    ctx.mark_non_differentiable(output[2])


def _differentiate(ctx, local_grad: Tensor, pooled_grad: Tensor, _: Tensor):
    context, gates, sums, *kernels = ctx.saved_tensors
    backward = torch.ops.focalnet_d2.focal_context_backward
    if not sums.numel():
        with torch.no_grad():  # a second forward pass costs little time, the sums of all blocks much memory
            sums = OPERATOR(context, gates, kernels, True)[-1]
    return *backward(context, gates, kernels, sums, local_grad, pooled_grad), None


def _refuse(ctx, *grads: Tensor) -> None:
    raise RuntimeError("The compiled focal context can be differentiated once only.")


torch.library.register_autograd("focalnet_d2::focal_context", _differentiate, setup_context=_keep)
torch.library.register_autograd("focalnet_d2::focal_context_backward", _refuse)


def _elementwise(name: str, count: int, *inputs: Tensor) -> tuple[Tensor, ...]:
    """`count` results of the shape and type of the inputs."""
    sources = [tensor.detach().contiguous() for tensor in inputs]
    results, function = [torch.empty_like(sources[0]) for _ in range(count)], _function(name, sources[0].dtype)

    def run(first: int, last: int) -> None:
        part = ctypes.c_int64(first), ctypes.c_int64(last)
        function(*map(_pointer, sources), *part, *map(_pointer, results))

    numbers = results[0].numel()
    run_all(run, pairwise(steps(numbers, min(torch.get_num_threads(), numbers // NUMBERS_FOR_A_THREAD))))
    return tuple(results)


def _rows(x: Tensor) -> Tensor:
    """The tensor, if its positions follow one another at one distance with their channels together; else a copy."""
    _, height, width, _ = x.shape
    row = x.stride(2)
    even = x.stride(3) == 1 and x.stride(1) == width * row and x.stride(0) == height * width * row
    return x if even and row >= x.shape[3] else x.contiguous()


def _lanes(dtype: torch.dtype) -> int:
    """Channels of a block."""
    return getattr(LIBRARY.load(), f"lanes_{_C_NAMES[dtype]}")()


def _blocks(context: Tensor) -> int:
    return -(-context.shape[-1] // _lanes(context.dtype))


def _function(name: str, dtype: torch.dtype) -> Callable[..., None]:
    return LIBRARY.function(f"{name}_{_C_NAMES[dtype]}")


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _addresses(tensors: Sequence[Tensor]) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))

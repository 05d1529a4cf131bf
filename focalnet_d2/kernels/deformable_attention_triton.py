"""Deformable attention as Triton kernels for CUDA, as operators that torch knows: no sample is written to memory.

The module imports triton, which is optional: `deformable_attention` imports it only where this implementation is
taken. A program owns some rows, a row being one head of one query, reads their four texels a point straight from the
values, and sums in float32 whatever the types of the inputs are. Backwards it owns the gradients of its rows' points
and weights, too; only the gradient of the values, which many rows share, is added up by atomics, and so its last bits
change between runs.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points; R rows of a
program, C its channels, the power of two from D on.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# (to a type checker a kernel is a function that returns nothing and takes only `tl.constexpr`)

from collections.abc import Sequence
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_ELEMENTS = 256  # R * C of a program: 8 for each thread of a single warp, which waits for no other at its sums
_VARYING = ["rows", "queries", "tokens"]  # sizes of an image, which must not ask for new kernels


@triton.jit
def _texels(locations, place, real, size):
    """Coordinates (R,) in texels, with the roundings of `grid_sample(2 * location - 1)`, which is fused on a card."""
    location = tl.load(locations + place, mask=real, other=-1.0).to(tl.float32)
    return tl.fma((location - 0.5) + 0.5, size.to(tl.float32), -0.5)


@triton.jit
def _locate(locations, place, real, width, height):
    """The texel left of and above a point (R,), and the shares of its right and lower neighbours.

    A point far outside is moved to just outside, so that its texel is a valid integer.
    """
    x = tl.minimum(tl.maximum(_texels(locations, 2 * place, real, width), -2.0), width + 1.0)
    y = tl.minimum(tl.maximum(_texels(locations, 2 * place + 1, real, height), -2.0), height + 1.0)
    left, top = tl.floor(x), tl.floor(y)
    return left.to(tl.int32), top.to(tl.int32), x - left, y - top


@triton.jit
def _texel(first, x, y, real, width, height, channel, STRIDE: tl.constexpr, CHANNELS: tl.constexpr):
    """Offsets (R, C) of the values of a texel, and which of them exist; `first` is that of the level's first texel."""
    inside = real & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    offset = first + (y * width + x).to(tl.int64) * STRIDE
    return offset[:, None] + channel[None, :], inside[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def _rows(rows, queries, tokens, HEADS: tl.constexpr, CHANNELS: tl.constexpr, R: tl.constexpr):
    """Numbers of the program's rows (R,), which of them exist, and the offsets of their head in their image."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    image = (row // (queries * HEADS)).to(tl.int64)
    return row.to(tl.int64), row < rows, (image * tokens * HEADS + row % HEADS) * CHANNELS


@triton.jit(do_not_specialize=_VARYING)
def _forward(
    value,
    levels,
    locations,
    weights,
    output,
    rows,
    queries,
    tokens,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    row, real, base = _rows(rows, queries, tokens, HEADS, CHANNELS, R)
    channel = tl.arange(0, C)
    total = tl.zeros((R, C), tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1)
        first = base + tl.load(levels + 3 * level + 2).to(tl.int64) * HEADS * CHANNELS
        for point in range(POINTS):
            place = (row * LEVELS + level) * POINTS + point
            weight = tl.load(weights + place, mask=real, other=0.0).to(tl.float32)
            x, y, right, below = _locate(locations, place, real, width, height)
            for corner in tl.static_range(4):
                at, there = _texel(
                    first, x + corner % 2, y + corner // 2, real, width, height, channel, HEADS * CHANNELS, CHANNELS
                )
                share_x = right if corner % 2 else 1.0 - right
                share_y = below if corner // 2 else 1.0 - below
                texel = tl.load(value + at, mask=there, other=0.0).to(tl.float32)
                total += (share_x * share_y * weight)[:, None] * texel
    owned = real[:, None] & (channel < CHANNELS)[None, :]
    tl.store(output + row[:, None] * CHANNELS + channel[None, :], total.to(output.dtype.element_ty), mask=owned)


@triton.jit(do_not_specialize=_VARYING)
def _backward(
    value,
    levels,
    locations,
    weights,
    output_grad,
    value_grad,
    locations_grad,
    weights_grad,
    rows,
    queries,
    tokens,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    FOR_VALUE: tl.constexpr,
    FOR_POINTS: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    row, real, base = _rows(rows, queries, tokens, HEADS, CHANNELS, R)
    channel = tl.arange(0, C)
    owned = real[:, None] & (channel < CHANNELS)[None, :]
    grad = tl.load(output_grad + row[:, None] * CHANNELS + channel[None, :], mask=owned, other=0.0).to(tl.float32)
    for level in range(LEVELS):
        height, width = tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1)
        first = base + tl.load(levels + 3 * level + 2).to(tl.int64) * HEADS * CHANNELS
        for point in range(POINTS):
            place = (row * LEVELS + level) * POINTS + point
            weight = tl.load(weights + place, mask=real, other=0.0).to(tl.float32)
            x, y, right, below = _locate(locations, place, real, width, height)
            along_weight = tl.zeros((R,), tl.float32)
            along_x, along_y = along_weight, along_weight
            for corner in tl.static_range(4):
                at, there = _texel(
                    first, x + corner % 2, y + corner // 2, real, width, height, channel, HEADS * CHANNELS, CHANNELS
                )
                share_x = right if corner % 2 else 1.0 - right
                share_y = below if corner // 2 else 1.0 - below
                if FOR_VALUE:
                    spread = (share_x * share_y * weight)[:, None] * grad
                    tl.atomic_add(value_grad + at, spread, mask=there, sem="relaxed")
                if FOR_POINTS:
                    texel = tl.load(value + at, mask=there, other=0.0).to(tl.float32)
                    product = tl.sum(texel * grad, axis=1)
                    along_weight += share_x * share_y * product
                    along_x += share_y * product * (1 if corner % 2 else -1)
                    along_y += share_x * product * (1 if corner // 2 else -1)
            if FOR_POINTS:
                points_type = locations_grad.dtype.element_ty
                tl.store(weights_grad + place, along_weight.to(weights_grad.dtype.element_ty), mask=real)
                tl.store(locations_grad + 2 * place, (along_x * weight * width).to(points_type), mask=real)
                tl.store(locations_grad + 2 * place + 1, (along_y * weight * height).to(points_type), mask=real)


_INPUTS = "Tensor value, Tensor levels, Tensor locations, Tensor weights"
torch.library.define("focalnet_d2::triton_deformable_attention", f"({_INPUTS}) -> Tensor")
torch.library.define(
    "focalnet_d2::triton_deformable_attention_backward",
    f"({_INPUTS}, Tensor grad, bool for_value, bool for_points) -> (Tensor, Tensor, Tensor)",
)

OPERATOR = torch.ops.focalnet_d2.triton_deformable_attention


@cache
def _level_table(spatial_shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """(L, 3) int32: height, width and first token of every level.

    Kept for good: making it waits for the device, and a captured CUDA graph goes on reading it.
    """
    rows, start = [], 0
    for height, width in spatial_shapes:
        rows.append((height, width, start))
        start += height * width
    return torch.tensor(rows, dtype=torch.int32, device=device)


def _launch(kernel, value: Tensor, levels: Tensor, points: Tensor, others: Sequence[Tensor | None], **flags) -> None:
    """Starts a kernel for all rows of (B, Q, M, L, P) `points`; there may be none."""
    batch, queries, heads, num_levels, num_points = points.shape
    tokens, channels = value.shape[1], value.shape[3]
    rows, width = batch * queries * heads, triton.next_power_of_2(channels)
    if rows * channels == 0:
        return
    block = max(1, _ELEMENTS // width)
    sizes = dict(HEADS=heads, CHANNELS=channels, LEVELS=num_levels, POINTS=num_points, R=block, C=width)
    with torch.cuda.device_of(value):
        grid = (triton.cdiv(rows, block),)
        kernel[grid](value, levels, *others, rows, queries, tokens, **sizes, **flags, num_warps=1)


@torch.library.impl("focalnet_d2::triton_deformable_attention", ("cpu", "cuda"))
def _run_forward(value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    output = _forward_shape(value, levels, locations, weights)
    _launch(_forward, value.contiguous(), levels, weights, (locations.contiguous(), weights.contiguous(), output))
    return output


@torch.library.impl("focalnet_d2::triton_deformable_attention_backward", ("cpu", "cuda"))
def _run_backward(value, levels, locations, weights, grad, for_value: bool, for_points: bool):
    value_grad, *point_grads = _backward_shapes(value, levels, locations, weights, grad, for_value, for_points)
    summed = torch.zeros(value_grad.shape, dtype=torch.float32, device=value.device)
    inputs = [tensor.contiguous() for tensor in (locations, weights, grad)]
    others = (*inputs, summed, *point_grads)
    _launch(_backward, value.contiguous(), levels, weights, others, FOR_VALUE=for_value, FOR_POINTS=for_points)
    return summed.to(value.dtype), *point_grads


@torch.library.register_fake("focalnet_d2::triton_deformable_attention")
def _forward_shape(value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


@torch.library.register_fake("focalnet_d2::triton_deformable_attention_backward")
def _backward_shapes(value, levels, locations, weights, grad, for_value: bool, for_points: bool):
    """What nobody needs is empty."""
    wanted = ((value, for_value), (locations, for_points), (weights, for_points))
    return tuple(tensor.new_empty(tensor.shape if needed else (0,)) for tensor, needed in wanted)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    for_value, _, for_locations, for_weights = ctx.needs_input_grad
    for_points = for_locations or for_weights
    backward = torch.ops.focalnet_d2.triton_deformable_attention_backward
    value_grad, locations_grad, weights_grad = backward(*ctx.saved_tensors, grad, for_value, for_points)
    return (
        value_grad if for_value else None,
        None,
        locations_grad if for_locations else None,
        weights_grad if for_weights else None,
    )


def _refuse(ctx, *grads: Tensor) -> None:
    raise RuntimeError("The triton deformable attention can be differentiated once only.")


torch.library.register_autograd("focalnet_d2::triton_deformable_attention", _differentiate, setup_context=_keep)
torch.library.register_autograd("focalnet_d2::triton_deformable_attention_backward", _refuse)


def deformable_attention_triton(
    value: Tensor, spatial_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The sums of `deformable_attention`, differentiable (once) in value, locations and weights.

    Args:
        value: (B, N, M, D) in one of `DTYPES`; so is the result. Locations and weights may be in another one.
        spatial_shapes: (h, w) of every level.
        locations: (B, Q, M, L, P, 2).
        weights: (B, Q, M, L, P).

    Returns:
        (B, Q, M*D).

    Raises:
        ValueError: a tensor of another type.
    """
    for name, tensor in (("value", value), ("locations", locations), ("weights", weights)):
        if tensor.dtype not in DTYPES:
            raise ValueError(
                f"The Triton kernels sum in float32 and take no {tensor.dtype} {name}; choose another way."
            )
    levels = _level_table(tuple((int(h), int(w)) for h, w in spatial_shapes), value.device)
    return OPERATOR(value, levels, locations, weights)


def try_out(device: str) -> None:
    """The middle of a 2 x 2 map, forward and backward.

    Raises:
        RuntimeError: a wrong result; and whatever triton raises where it cannot make or start kernels.
    """
    with torch.enable_grad(), torch.inference_mode(False):
        value = torch.tensor([1.0, 2.0, 3.0, 4.0], device=device).view(1, 4, 1, 1).requires_grad_()
        middle = torch.full((1, 1, 1, 1, 1, 2), 0.5, device=device)
        found = deformable_attention_triton(value, [(2, 2)], middle, torch.ones(1, 1, 1, 1, 1, device=device))
        (value_grad,) = torch.autograd.grad(found.sum(), value)
    results = [found.item(), *value_grad.flatten().tolist()]
    if results != [2.5, 0.25, 0.25, 0.25, 0.25]:
        raise RuntimeError(f"Triton's kernels compute {results} instead of 2.5 and four times 0.25.")

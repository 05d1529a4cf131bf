"""The local focal context as Triton kernels for CUDA, on maps with channels last, as operators that torch knows.

The module imports triton, which is optional: `focal_context` imports it only where this implementation is taken.
Forwards there is one kernel a level: a program convolves a tile of positions and channels and goes on to the GELU in
registers; the last level also adds up all levels with their gates, and its own mean. Backwards a kernel convolves the
gradient of the next level and goes on through GELU and gate, and another one makes the gradients of the taps. Sums are
in float32 whatever the types of the inputs are. There are no atomics: what several programs share they leave as parts,
which are added up afterwards, so results do not change between runs.

The convolutions' results are kept for the backward pass: to write and read a map takes a fraction of the time of a
second k x k convolution, and autograd keeps the same maps of the plain implementation. In maps read or written the
passes take 3 L - 2 forwards (L > 1), L more with gradients, and 6 L + 1 backwards.

Shapes: B images, H x W positions, C channels, L levels, T taps of all levels; P positions of a half of a tile.
"""

# pyright: reportGeneralTypeIssues=false, reportArgumentType=false
# (to a type checker a kernel is a function that returns nothing and takes only `tl.constexpr`)

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_COLUMNS = 8  # of a tile
_TILE = 2048  # positions times channels of a half: 16 for each thread of 4 warps
_WINDOW = 4096  # taps times channels of a program that sums gradients of taps
_STEPS = 4  # positions whose windows are asked for together
_PROGRAMS = 1024  # as many, or up to twice as many, sum the gradients of taps: some for each multiprocessor
_OFFSETS = 2**31  # within an image they are 32-bit numbers
_VARYING = ["height", "width", "lines", "part"]  # sizes of an image, which must not ask for new kernels


@triton.jit
def _normal(x):
    """The normal distribution function: GELU(x) is x times this."""
    return 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)


@triton.jit
def _tile(height, width, P: tl.constexpr, COLUMNS: tl.constexpr, C: tl.constexpr):
    """Rows (P,) of the upper half of the program's tile, columns (P,), channels (C,), and the image.

    The lower half is one row below, so that the two share all but one row of what they read.
    """
    across = tl.cdiv(width, COLUMNS)
    tile, place = tl.program_id(0), tl.arange(0, P)
    row = (tile // across) * (2 * P // COLUMNS) + place // COLUMNS * 2
    column = tile % across * COLUMNS + place % COLUMNS
    return row, column, tl.program_id(1) * C + tl.arange(0, C), tl.program_id(2).to(tl.int64)


@triton.jit
def _convolve(
    source, taps, row, column, channel, height, width, stride, channels, K: tl.constexpr, FLIP: tl.constexpr,
):  # fmt: skip
    """(P, C) sums over the windows of the two halves; zeros around the map."""
    owned = channel < channels
    upper = tl.zeros((row.shape[0], channel.shape[0]), tl.float32)
    lower = upper
    for j in range(K):
        x = column + (j - K // 2)
        tap = tl.zeros((channel.shape[0],), tl.float32)
        for i in tl.static_range(K + 1):
            y = row + (i - K // 2)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            at = ((y * width + x) * stride)[:, None] + channel[None, :]
            texel = tl.load(source + at, mask=inside[:, None] & owned[None, :], other=0.0).to(tl.float32)
            if i > 0:
                lower += texel * tap[None, :]
            if i < K:
                number = K * K - 1 - (i * K + j) if FLIP else i * K + j
                tap = tl.load(taps + number * channels + channel, mask=owned, other=0.0)
                upper += texel * tap[None, :]
    return upper, lower


@triton.jit
def _half(half: tl.constexpr, row, column, channel, image, height, width, channels):
    """Positions (P,) of a half in the whole tensor, which of them exist, offsets (P, C) and which of those exist."""
    y = row + half
    real = (y < height) & (column < width)
    position = image * height * width + y * width + column
    owned = real[:, None] & (channel < channels)[None, :]
    return position, real, position[:, None] * channels + channel[None, :], owned


@triton.jit(do_not_specialize=_VARYING)
def _forward(
    source, taps, gates, contexts, linear, local, sums, height, width, stride, gate_stride, channels,
    K: tl.constexpr, LEVEL: tl.constexpr, LAST: tl.constexpr, KEEP: tl.constexpr, P: tl.constexpr,
    COLUMNS: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    row, column, channel, image = _tile(height, width, P, COLUMNS, C)
    source += image * height * width * stride
    upper, lower = _convolve(source, taps, row, column, channel, height, width, stride, channels, K, False)
    level_size = tl.num_programs(2).to(tl.int64) * height * width * channels
    total = tl.zeros((C,), tl.float32)
    for half in tl.static_range(2):
        position, real, at, owned = _half(half, row, column, channel, image, height, width, channels)
        convolved = upper if half == 0 else lower
        if KEEP:
            tl.store(linear + LEVEL * level_size + at, convolved.to(linear.dtype.element_ty), mask=owned)
        context = convolved * _normal(convolved)
        if LEVEL < LAST:
            tl.store(contexts + LEVEL * level_size + at, context.to(contexts.dtype.element_ty), mask=owned)
        else:
            total += tl.sum(tl.where(owned, context, 0.0), axis=0)
            gate = tl.load(gates + position * gate_stride + LAST, mask=real, other=0.0).to(tl.float32)
            gathered = gate[:, None] * context
            for level in tl.static_range(LAST):
                gate = tl.load(gates + position * gate_stride + level, mask=real, other=0.0).to(tl.float32)
                earlier = tl.load(contexts + level * level_size + at, mask=owned, other=0.0).to(tl.float32)
                gathered += gate[:, None] * earlier
            tl.store(local + at, gathered.to(local.dtype.element_ty), mask=owned)
    if LEVEL == LAST:
        tile = image * tl.num_programs(0) + tl.program_id(0)
        tl.store(sums + tile * channels + channel, total / (height * width).to(tl.float32), mask=channel < channels)


@triton.jit(do_not_specialize=_VARYING)
def _backward(
    above, taps, mean_grad, linear, gates, local_grad, output, gate_grads, height, width, gate_stride, channels,
    K: tl.constexpr, LEVEL: tl.constexpr, LEVELS: tl.constexpr, P: tl.constexpr, COLUMNS: tl.constexpr,
    C: tl.constexpr,
):  # fmt: skip
    """Gradient of a level's convolution from that of the next (`above`; K = 0: from that of the mean).

    LEVEL = -1 is the input, which has neither GELU nor gate.
    """
    row, column, channel, image = _tile(height, width, P, COLUMNS, C)
    if K > 0:
        above += image * height * width * channels
        upper, lower = _convolve(above, taps, row, column, channel, height, width, channels, channels, K, True)
    else:
        mean = tl.load(mean_grad + image * channels + channel, mask=channel < channels, other=0.0).to(tl.float32)
        upper = tl.zeros((P, C), tl.float32) + (mean / (height * width).to(tl.float32))[None, :]
        lower = upper
    blocks_before = tl.program_id(1) * tl.num_programs(2).to(tl.int64) * height * width
    for half in tl.static_range(2):
        position, real, at, owned = _half(half, row, column, channel, image, height, width, channels)
        grad = upper if half == 0 else lower
        if LEVEL >= 0:
            convolved = tl.load(linear + at, mask=owned, other=0.0).to(tl.float32)
            along_gate = tl.load(local_grad + at, mask=owned, other=0.0).to(tl.float32)
            gate = tl.load(gates + position * gate_stride + LEVEL, mask=real, other=0.0).to(tl.float32)
            below = _normal(convolved)
            gate_grad = tl.sum(along_gate * convolved * below, axis=1)
            tl.store(gate_grads + (blocks_before + position) * LEVELS + LEVEL, gate_grad, mask=real)
            slope = below + convolved * 0.3989422804014327 * tl.exp(-0.5 * convolved * convolved)
            grad = (grad + along_gate * gate[:, None]) * slope
        tl.store(output + at, grad.to(output.dtype.element_ty), mask=owned)


@triton.jit(do_not_specialize=_VARYING)
def _tap_gradients(
    source, grads, parts, lines, part, height, width, stride, channels, K: tl.constexpr, T: tl.constexpr,
    C: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """Sums (T, C) over `part` lines of the maps of windows times gradients; T is the power of two from K * K on."""
    number = tl.arange(0, T)
    i, j = number // K - K // 2, number % K - K // 2
    channel = tl.program_id(1) * C + tl.arange(0, C)
    owned = channel < channels
    total = tl.zeros((T, C), tl.float32)
    line = tl.program_id(0) * part
    end = tl.minimum(line + part, lines)
    while line < end:  # the interpreter knows no range of run-time length with newer numpy
        y = line % height
        beside = (number < K * K) & (y + i >= 0) & (y + i < height)
        start = line.to(tl.int64) * width
        left = 0
        while left < width:
            for right in tl.static_range(STEPS):
                x = left + right
                real = owned & (x + tl.zeros_like(channel) < width)  # vectors: the interpreter widens a mask of scalars
                grad = tl.load(grads + (start + x) * channels + channel, mask=real, other=0.0).to(tl.float32)
                inside = beside & (x + j >= 0) & (x + j < width)
                at = ((i * width + j) * stride)[:, None] + channel[None, :]
                window = source + (start + x) * stride + at
                texels = tl.load(window, mask=inside[:, None] & owned[None, :], other=0.0).to(tl.float32)
                total += texels * grad[None, :]
            left += STEPS
        line += 1
    at = (tl.program_id(0).to(tl.int64) * K * K + number[:, None]) * channels + channel[None, :]
    tl.store(parts + at, total, mask=(number < K * K)[:, None] & owned[None, :])


_INPUTS = "Tensor context, Tensor gates, Tensor taps, int[] kernels"
torch.library.define("focalnet_d2::triton_focal_context", f"({_INPUTS}, bool keep) -> (Tensor, Tensor, Tensor, Tensor)")
torch.library.define(
    "focalnet_d2::triton_focal_context_backward",
    f"({_INPUTS}, Tensor contexts, Tensor linear, Tensor local_grad, Tensor mean_grad) -> (Tensor, Tensor, Tensor)",
)


def focal_context_triton(context: Tensor, gates: Tensor, kernels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The sums of `focalnet_d2.kernels.focal_context`, for at least one level, differentiable once.

    Args:
        context: (B, H, W, C) in one of `DTYPES`; so are the results.
        gates: (B, H, W, L).
        kernels: L of shape (C, 1, k, k), k odd.

    Returns:
        (B, H, W, C) sum and (B, C) mean.

    Raises:
        ValueError: another type, an even kernel, or a map of 2^31 or more values.
    """
    sizes = [kernel.shape[-1] for kernel in kernels]
    if context.dtype not in DTYPES or gates.dtype not in DTYPES:
        raise ValueError(f"The Triton kernels sum in float32 and take no {context.dtype}, {gates.dtype}.")
    if any(size % 2 == 0 for size in sizes):
        raise ValueError(f"Kernels of focal levels are odd, not {sizes}.")
    if context[:1].numel() >= _OFFSETS:
        raise ValueError(f"The Triton kernels take no maps as large as {tuple(context.shape)}.")
    context, _ = _maps(context, 16)  # here, so that a copy is made once and kept
    taps = torch.cat([kernel.flatten(1) for kernel in kernels], dim=1)  # (C, T)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (context, gates, taps))
    local, mean, _, _ = torch.ops.focalnet_d2.triton_focal_context(context, gates, taps, sizes, keep)
    return local, mean


def _maps(tensor: Tensor, alignment: int = 1) -> tuple[Tensor, int]:
    """The (B, H, W, C) tensor, copied if need be, and the step from position to position, the same over all of it.

    Positions and the start are multiples of `alignment` bytes; memory itself starts at one.
    """
    _, height, width, channels = tensor.shape
    step = tensor.stride(2)
    regular = tensor.stride() == (height * width * step, width * step, step, 1) and height * width * step < _OFFSETS
    if regular and all(number * tensor.element_size() % alignment == 0 for number in (step, tensor.storage_offset())):
        return tensor, step
    return tensor.contiguous(), channels


def _taps_of_levels(taps: Tensor, kernels: Sequence[int]) -> tuple[Tensor, ...]:
    """(C, T) -> (k * k, C) in memory for every level, in float32: the threads need not widen them each time."""
    by_tap = torch.empty(taps.shape[::-1], dtype=torch.float32, device=taps.device).copy_(taps.T)
    return by_tap.split([size * size for size in kernels])


def _tile_sizes(channels: int) -> dict[str, int]:
    """Channels of a program: as many as divide them, up to 64, a line of memory; and its positions."""
    even = channels & -channels  # the largest power of two that divides them
    block = min(64, even if even >= 16 else int(triton.next_power_of_2(channels)))
    return {"P": _TILE // block, "COLUMNS": _COLUMNS, "C": block}


def _grid(shape: Sequence[int], P: int, COLUMNS: int, C: int) -> tuple[int, int, int]:
    batch, height, width, channels = shape
    tiles = int(triton.cdiv(height, 2 * P // COLUMNS) * triton.cdiv(width, COLUMNS))
    return tiles, int(triton.cdiv(channels, C)), batch


@torch.library.impl("focalnet_d2::triton_focal_context", ("cpu", "cuda"))
def _run_forward(context: Tensor, gates: Tensor, taps: Tensor, kernels: Sequence[int], keep: bool):
    batch, height, width, channels = context.shape
    local, _, contexts, linear = _forward_shapes(context, gates, taps, kernels, keep)
    sizes = _tile_sizes(channels)
    grid, last = _grid(context.shape, **sizes), len(kernels) - 1
    sums = context.new_empty(batch, grid[0], channels, dtype=torch.float32)
    source, stride = _maps(context, 16)
    gates, gate_stride = _maps(gates)
    with torch.cuda.device_of(context):
        for level, level_taps in enumerate(_taps_of_levels(taps, kernels)):
            _forward[grid](
                source, level_taps, gates, contexts, linear, local, sums, height, width, stride, gate_stride, channels,
                K=kernels[level], LEVEL=level, LAST=last, KEEP=keep, **sizes,
            )  # fmt: skip
            if level < last:
                source, stride = contexts[level], channels
    return local, sums.sum(1).to(context.dtype), contexts, linear


@torch.library.impl("focalnet_d2::triton_focal_context_backward", ("cpu", "cuda"))
def _run_backward(context, gates, taps, kernels, contexts, linear, local_grad, mean_grad):
    _, height, width, channels = context.shape
    sizes = _tile_sizes(channels)
    grid, levels = _grid(context.shape, **sizes), len(kernels)
    local_grad, mean_grad, (gates, gate_stride) = local_grad.contiguous(), mean_grad.contiguous(), _maps(gates)
    gate_grads = gates.new_empty(grid[1], *gates.shape, dtype=torch.float32)  # of every program's channels
    all_taps, tap_grads = _taps_of_levels(taps, kernels), []
    above = above_taps = None
    with torch.cuda.device_of(context):
        for level in range(levels - 1, -2, -1):
            output = torch.empty_like(local_grad)
            _backward[grid](
                above, above_taps, mean_grad, linear[max(level, 0)], gates, local_grad, output, gate_grads,
                height, width, gate_stride, channels,
                K=0 if above is None else kernels[level + 1], LEVEL=level, LEVELS=levels, **sizes,
            )  # fmt: skip
            if level >= 0:
                source = contexts[level - 1] if level else context
                tap_grads.append(_sum_tap_gradients(source, output, kernels[level]))
                above, above_taps = output, all_taps[level]
    tap_grads = torch.cat(tap_grads[::-1]).T.contiguous()  # (C, T)
    return output, gate_grads.sum(0).to(gates.dtype), tap_grads.to(taps.dtype)


def _sum_tap_gradients(source: Tensor, grads: Tensor, kernel: int) -> Tensor:
    """(B, H, W, C) input and gradient of a convolution -> (k * k, C)."""
    batch, height, width, channels = grads.shape
    source, stride = _maps(source, 16)
    taps, lines = triton.next_power_of_2(kernel * kernel), batch * height
    block = min(_WINDOW // taps, 128, triton.next_power_of_2(channels))
    blocks = triton.cdiv(channels, block)
    part = max(1, lines * blocks // _PROGRAMS)
    programs = triton.cdiv(lines, part)
    parts = grads.new_empty(programs, kernel * kernel, channels, dtype=torch.float32)
    _tap_gradients[(programs, blocks)](
        source, grads, parts, lines, part, height, width, stride, channels, K=kernel, T=taps, C=block, STEPS=_STEPS
    )
    return parts.sum(0)


@torch.library.register_fake("focalnet_d2::triton_focal_context")
def _forward_shapes(context: Tensor, gates: Tensor, taps: Tensor, kernels: Sequence[int], keep: bool):
    shape, levels = context.shape, len(kernels)
    mean = context.new_empty(shape[0], shape[3])
    contexts = context.new_empty(levels - 1, *shape)  # of all levels but the last
    return context.new_empty(shape), mean, contexts, context.new_empty(levels if keep else 0, *shape)


@torch.library.register_fake("focalnet_d2::triton_focal_context_backward")
def _backward_shapes(context, gates, taps, kernels, contexts, linear, local_grad, mean_grad):
    return tuple(one.new_empty(one.shape) for one in (context, gates, taps))


def _keep(ctx, inputs: tuple, output: tuple) -> None:
    context, gates, taps, ctx.kernels, _ = inputs
    _, _, contexts, linear = output
    ctx.save_for_backward(context, gates, taps, contexts, linear)
    ctx.mark_non_differentiable(contexts, linear)
    ctx.set_materialize_grads(False)


def _differentiate(ctx, local_grad: Tensor | None, mean_grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    context, gates, taps, contexts, linear = ctx.saved_tensors
    local_grad = torch.zeros_like(context) if local_grad is None else local_grad
    mean_grad = context.new_zeros(context.shape[0], context.shape[3]) if mean_grad is None else mean_grad
    backward = torch.ops.focalnet_d2.triton_focal_context_backward
    grads = backward(context, gates, taps, ctx.kernels, contexts, linear, local_grad, mean_grad)
    return *grads, None, None


def _refuse(ctx, *grads: Tensor) -> None:
    raise RuntimeError("The triton focal context can be differentiated once only.")


torch.library.register_autograd("focalnet_d2::triton_focal_context", _differentiate, setup_context=_keep)
torch.library.register_autograd("focalnet_d2::triton_focal_context_backward", _refuse)


def try_out(device: str) -> None:
    """One position, where only the middles of the kernels count, forward and backward.

    Raises:
        RuntimeError: a wrong result; and whatever triton raises where it cannot make or start kernels.
    """
    with torch.enable_grad(), torch.inference_mode(False):
        leaves = [
            torch.full(shape, value, device=device) for shape, value in (((1, 1, 1, 1), 1.0), ((1, 1, 1, 1), 2.0))
        ]
        leaves.append(torch.ones(1, 1, 3, 3, device=device))
        for leaf in leaves:
            leaf.requires_grad_()
        local, mean = focal_context_triton(leaves[0], leaves[1], leaves[2:])
        grads = torch.autograd.grad((local + mean).sum(), leaves)
    found = [local.item(), mean.item(), grads[0].item(), grads[1].item(), grads[2][0, 0, 1, 1].item()]
    expected = [1.6826895, 0.84134475, 3.2499464, 0.84134475, 3.2499464]  # GELU(1) = 0.8413..., its slope is 1.0833...
    if any(abs(a - b) > 1e-4 for a, b in zip(found, expected, strict=True)):
        raise RuntimeError(f"Triton's kernels compute {found} instead of {expected}.")

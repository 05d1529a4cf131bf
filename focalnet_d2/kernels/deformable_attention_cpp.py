"""Deformable attention by a small C++ library (deformable_attention.cpp), as operators that torch knows.

Shapes: B images, N tokens of all levels, Q queries, M heads, D channels of a head, L levels, P points.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .compiler import CompiledLibrary, run_all, steps
from .torch_operator import define_operator

LIBRARY = CompiledLibrary(Path(__file__).with_name("deformable_attention.cpp"))
POINTS_FOR_A_THREAD = 50_000  # about half a millisecond, far more than starting the thread takes

_DTYPES = torch.float32, torch.float64, torch.bfloat16  # of values, as the library reads them


def deformable_attention_cpp(
    value: Tensor, spatial_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The sum of `deformable_attention` on the CPU, differentiable once.

    Values in bfloat16 are read as they are; of another half precision a copy in float32 is.

    Args:
        value: (B, N, M, D).
        spatial_shapes: (h, w) of every level.
        locations: (B, Q, M, L, P, 2).
        weights: (B, Q, M, L, P).

    Returns:
        (B, Q, M*D).

    Raises:
        ValueError: shapes that do not fit each other, which would have the library read other memory.
    """
    batch, tokens, heads, _ = value.shape
    fitting = (batch, locations.shape[1], heads, len(spatial_shapes), locations.shape[4])
    if (weights.shape, locations.shape) != (fitting, (*fitting, 2)) or sum(h * w for h, w in spatial_shapes) != tokens:
        given = [tuple(one.shape) for one in (value, locations, weights)]
        raise ValueError(f"Value, locations and weights {given} do not fit levels of {list(spatial_shapes)}.")
    sides = [int(side) for shape in spatial_shapes for side in shape]
    dtype = torch.promote_types(value.dtype, torch.float32)
    if value.dtype not in _DTYPES:
        value = value.to(dtype)
    locations, weights = locations.to(dtype), weights.to(dtype)
    return OPERATOR(value, sides, locations, weights)


def _forward(value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    batch, _, heads, channels = value.shape
    queries = batch * locations.shape[1]
    output = weights.new_empty(batch, locations.shape[1], heads * channels)
    inputs = _contiguous(value, _geometry(sides, locations.shape[4]), locations, weights)
    function, leading = _function("forward", inputs)

    def run(first: int, last: int) -> None:
        function(*leading, ctypes.c_int64(first), ctypes.c_int64(last), _pointer(output))

    edges = steps(queries, _threads(weights))
    run_all(run, pairwise(edges))
    return output.to(value.dtype)


def _backward(
    value: Tensor, sides: Sequence[int], locations: Tensor, weights: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    inputs = _contiguous(value, _geometry(sides, locations.shape[4]), locations, weights)
    value_grad = torch.zeros_like(value, dtype=weights.dtype, memory_format=torch.contiguous_format)
    location_grad = torch.empty_like(locations, memory_format=torch.contiguous_format)
    weight_grad = torch.empty_like(weights, memory_format=torch.contiguous_format)
    grad = grad.to(weights.dtype).contiguous()
    function, leading = _function("backward", inputs)

    def run(image: int, first_head: int, last_head: int) -> None:
        place = (ctypes.c_int64(number) for number in (image, first_head, last_head))
        function(*leading, _pointer(grad), *place, *map(_pointer, (value_grad, location_grad, weight_grad)))

    batch, _, heads, _ = value.shape
    edges = steps(heads, -(-_threads(weights) // max(batch, 1)))
    run_all(run, [(b, *group) for b in range(batch) for group in pairwise(edges)])
    return value_grad.to(value.dtype), location_grad, weight_grad


OPERATOR = define_operator("deformable_attention", _forward, _backward, "cpu")


def _geometry(sides: Sequence[int], points: int) -> Tensor:
    """(3, L * P): width, height and first token of the level of each point."""
    heights, widths = torch.tensor(sides, dtype=torch.int32).view(-1, 2).unbind(1)  # (L,) each
    starts = (heights * widths).cumsum(0, dtype=torch.int32) - heights * widths
    return torch.stack([widths, heights, starts]).repeat_interleave(points, dim=1)


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [tensor.contiguous() for tensor in tensors]


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _function(name: str, inputs: Sequence[Tensor]) -> tuple[Callable[..., None], list]:
    """A function of the library and its first arguments: sizes and the inputs' memory."""
    value, geometry, locations, weights = inputs
    _, tokens, heads, channels = value.shape
    fused = grid_sample_is_fused(weights.dtype)
    sizes = (ctypes.c_int64 * 6)(tokens, locations.shape[1], heads, channels, geometry.shape[1], fused)
    function = LIBRARY.function(f"{name}_{value.dtype}".replace("torch.", ""))
    return function, [sizes, *map(_pointer, inputs)]


@cache
def grid_sample_is_fused(dtype: torch.dtype) -> bool:
    """Whether `grid_sample` on this CPU computes (grid + 1) * size / 2 - 1 / 2 with one rounding instead of two.

    It does where torch takes its AVX2 or AVX512 kernels, and does not where it takes those of any processor; so it is
    asked. Between the first two of three texels the share of the second is the coordinate itself.
    """
    places = torch.linspace(0.2, 0.4, 32, dtype=dtype, device="cpu")
    grid = torch.stack([2 * places - 1, torch.zeros_like(places)], dim=-1)  # (32, 2)
    row = grid.new_tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 3)
    rounded_twice = (grid[:, 0] + 1) * 1.5 - 0.5
    return not torch.equal(F.grid_sample(row, grid[None, None], align_corners=False).flatten(), rounded_twice)


def _threads(weights: Tensor) -> int:
    """Threads that are worth starting for this many points, never more than torch may take."""
    return max(1, min(torch.get_num_threads(), weights.numel() // POINTS_FOR_A_THREAD))

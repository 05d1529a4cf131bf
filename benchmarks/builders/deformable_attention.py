"""Every implementation of deformable attention for a CPU beside one `grid_sample` a level.

Shapes are those of DINO with 4 scales (strides 8 to 64), 8 heads of 32 channels and 4 points: an encoder call has a
query for each token, the decoder call 900. Points lie 4 texels around their query (standard deviation). In bfloat16 the
values are, while locations and weights are float32; the reference is float32 in all rows.
"""

from functools import partial

import torch
from torch import Tensor

from benchmarks.work import Timed
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION, deformable_attention

HEADS, CHANNELS, POINTS, SPREAD = 8, 32, 4, 4.0  # the last in texels
REFERENCE = "grid_sample"


def make_inputs(size: tuple[int, int], queries: int | None) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    """One image's arguments of `deformable_attention`; without a number of queries, one at the center of each texel."""
    draws = torch.Generator().manual_seed(0)
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (8, 16, 32, 64)]
    if queries is None:
        centers = [torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w) for h, w in shapes]
        reference = torch.cat(centers).flip(-1)  # (Q, 2) xy
    else:
        reference = torch.rand(queries, 2, generator=draws)
    value = torch.randn(1, sum(h * w for h, w in shapes), HEADS, CHANNELS, generator=draws)
    offsets = torch.randn(1, len(reference), HEADS, len(shapes), POINTS, 2, generator=draws) * SPREAD
    texel = torch.tensor([(1 / w, 1 / h) for h, w in shapes])[:, None]  # (L, 1, 2)
    weights = torch.rand(offsets.shape[:-1], generator=draws).flatten(3).softmax(-1).view(offsets.shape[:-1])
    return value, shapes, reference[None, :, None, None, None] + offsets * texel, weights


def forward(inputs: tuple, implementation: str, dtype: torch.dtype) -> list[Tensor]:
    """The sums."""
    value, shapes, locations, weights = inputs
    with torch.no_grad():
        return [deformable_attention(value.to(dtype), shapes, locations, weights, implementation)]


def forward_backward(inputs: tuple, implementation: str, dtype: torch.dtype) -> list[Tensor]:
    """Gradients of values, locations and weights."""
    value, shapes, locations, weights = inputs
    leaves = [one.detach().requires_grad_() for one in (value.to(dtype), locations, weights)]
    output = deformable_attention(leaves[0], shapes, leaves[1], leaves[2], implementation)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    return list(torch.autograd.grad(output, leaves, upstream))


def build(queries: int | None, names: tuple[str, ...], *, training: bool, size: tuple[int, int], precision: str):
    """`names`: the implementations to measure; those that are missing here are left out."""
    inputs, run = make_inputs(size, queries), forward_backward if training else forward
    available = {one.name for one in DEFORMABLE_ATTENTION.available("cpu")}
    dtype = getattr(torch, precision)
    found = {name: partial(run, inputs, name, dtype) for name in names if name in available}
    return Timed({"reference": partial(run, inputs, REFERENCE, torch.float32), **found})

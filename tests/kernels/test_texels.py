"""Every implementation of deformable attention takes the texels and shares of `grid_sample`, bit for bit.

A point on the centre of a texel is between its left and right neighbours only by rounding, and the gradient of its
location is the slope on that side. All points of a model with fresh offsets are there.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION, deformable_attention

OTHERS = [one.name for one in DEFORMABLE_ATTENTION.available("cpu") if one.name != "grid_sample"]


def delicate_places(size, dtype):
    """Locations along an axis of `size` texels: centres, borders, the numbers next to them, random and far ones."""
    centers, borders = (torch.arange(size) + 0.5).to(dtype) / size, torch.arange(size + 1).to(dtype) / size
    special = torch.cat([centers, borders])
    nearby = [torch.nextafter(special, torch.full_like(special, side)) for side in (-9.0, 9.0)]
    random = torch.rand(32, generator=torch.Generator().manual_seed(size), dtype=dtype) * 1.6 - 0.3
    beyond = torch.tensor([-0.0, 1e-30, -1e-30, -0.5 / size, 1 + 0.5 / size, -3.0, 4.0, 1e6, -1e6], dtype=dtype)
    return torch.cat([special, *nearby, random, beyond])


def shares_and_slopes(implementation, places, size, axis):
    """Share of each texel of a row (axis 0) or column (axis 1) at each place (Q, size), and the slopes there (Q,).

    Values are the rows of a unit matrix and upstream gradients squares, so all sums are exact, and slopes differ from
    texel to texel.
    """
    value = torch.eye(size, dtype=places.dtype).view(1, size, 1, size)
    locations = torch.full((1, len(places), 1, 1, 1, 2), 0.5, dtype=places.dtype)
    locations[..., axis] = places.view(1, -1, 1, 1, 1)
    locations.requires_grad_()
    shape = (size, 1) if axis else (1, size)
    shares = deformable_attention(value, [shape], locations, places.new_ones(1, len(places), 1, 1, 1), implementation)
    squares = torch.arange(1, size + 1).to(places.dtype) ** 2
    (slopes,) = torch.autograd.grad(shares, locations, squares.expand_as(shares))
    return shares[0].detach(), slopes[..., axis].flatten()


def check(implementation, dtype, size, axis):
    """Raises AssertionError where a share or a slope has other bits than that of `grid_sample`."""
    places = delicate_places(size, dtype)
    expected = shares_and_slopes("grid_sample", places, size, axis)
    found = shares_and_slopes(implementation, places, size, axis)
    for name, one, other in zip(("shares", "slopes"), found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("implementation", OTHERS)
@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 200), axis=st.sampled_from([0, 1]))
@example(size=1, axis=0)
@example(size=20, axis=0)
@example(size=167, axis=1)
def test_texels_shares_and_slopes_are_those_of_grid_sample(implementation, dtype, size, axis):
    check(implementation, dtype, size, axis)


IN_ANOTHER_PROCESS = """
import torch
from tests.kernels.test_texels import OTHERS, check
assert torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"), torch.backends.cpu.get_cpu_capability()
for implementation in OTHERS:
    for dtype in (torch.float32, torch.float64):
        for size in (1, 20, 33, 167):
            check(implementation, dtype, size, size % 2)
"""


def test_so_it_is_with_the_kernels_that_torch_has_for_any_processor():
    """They round a coordinate twice, those for AVX2 once; torch chooses between them when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]

"""Deformable attention's Triton kernels in the interpreter; `test_deformable_attention_triton.py` starts this file.

The interpreter is chosen when triton is imported, so these tests have a process of their own, with TRITON_INTERPRET=1.
New memory is filled with NaN, so whatever a kernel forgets to write shows.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from focalnet_d2.kernels.deformable_attention import deformable_attention
from focalnet_d2.kernels.deformable_attention_cpp import grid_sample_is_fused
from focalnet_d2.kernels.deformable_attention_triton import OPERATOR, _level_table, try_out
from tests.kernels.test_texels import check
from tests.kernels.triton_interpreter import poisoned_memory  # noqa: F401  autouse


@pytest.fixture(autouse=True)
def fma_that_rounds_once(monkeypatch):
    """As on a card; the interpreter rounds the product, too. That of two float32 is exact in float64."""

    def create_fma(self, x, y, z):
        once = x.data.astype(np.float64) * y.data + z.data
        return TensorHandle(once.astype(z.data.dtype), z.dtype.scalar)

    monkeypatch.setattr(InterpreterBuilder, "create_fma", create_fma)


def make_inputs(shapes, seed=0, *, batch=2, queries=3, heads=2, channels=4, points=2):
    """Points from outside on one side to outside on the other."""
    draws = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([(w, h) for h, w in shapes])[:, None]  # (L, 1, 2)
    value = torch.randn(batch, sum(h * w for h, w in shapes), heads, channels, generator=draws)
    texels = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=draws) * (1.4 * sizes + 2) - 1.6
    weights = torch.rand(batch, queries, heads, len(shapes), points, generator=draws)
    return value, (texels + 0.5) / sizes, weights


def run(implementation, shapes, value, locations, weights, needs=(True, True, True)):
    """Output and gradients of a sum with fixed random coefficients."""
    leaves = [x.detach().requires_grad_(need) for x, need in zip((value, locations, weights), needs)]
    output = deformable_attention(leaves[0], shapes, leaves[1], leaves[2], implementation)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    output.backward(upstream)
    return output.detach(), *(leaf.grad for leaf in leaves)


def assert_agree(found, expected, tolerance=2e-5):
    for name, first, second in zip(("output", "value", "locations", "weights"), found, expected, strict=True):
        torch.testing.assert_close(
            first, second, atol=tolerance, rtol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=2),
    batch=st.integers(1, 2),
    queries=st.integers(1, 4),
    heads=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 8]),
    points=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_agrees_with_grid_sample(shapes, batch, queries, heads, channels, points, seed):
    sizes = dict(batch=batch, queries=queries, heads=heads, channels=channels, points=points)
    tensors = make_inputs(shapes, seed, **sizes)
    assert_agree(run("triton", shapes, *tensors), run("grid_sample", shapes, *tensors))


@pytest.mark.skipif(not grid_sample_is_fused(torch.float32), reason="grid_sample on a card rounds once")
@pytest.mark.parametrize(("size", "axis"), [(1, 0), (5, 1), (10, 0)])
def test_texels_shares_and_slopes_are_those_of_grid_sample(size, axis):
    check("triton", torch.float32, size, axis)


def test_many_programs_wide_heads_and_inputs_that_are_not_contiguous():
    """40 channels leave 4 rows to a program; 15 rows are no multiple of it."""
    shapes = [(3, 5), (1, 1)]
    value, locations, weights = make_inputs(shapes, batch=1, queries=5, heads=3, channels=40, points=1)
    spread = (
        value.transpose(1, 2).contiguous().transpose(1, 2),
        locations.flip(-1).contiguous().flip(-1).transpose(1, 3).contiguous().transpose(1, 3),
        torch.stack([weights, weights], dim=-1)[..., 0],
    )
    assert not any(tensor.is_contiguous() for tensor in spread)
    assert_agree(run("triton", shapes, *spread), run("grid_sample", shapes, value, locations, weights))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    """What comes out is the float32 result, rounded once; gradients have the types of what they belong to."""
    shapes = [(4, 3)]
    value, locations, weights = make_inputs(shapes, queries=4)
    value, weights = value.to(dtype), weights.to(dtype)
    found = run("triton", shapes, value, locations, weights)
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32, dtype]
    assert_agree(found, run("grid_sample", shapes, value, locations, weights), 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False)])
def test_gradients_that_nobody_needs_are_left_out(needs):
    shapes = [(2, 3)]
    tensors = make_inputs(shapes, points=1)
    found = run("triton", shapes, *tensors, needs=needs)
    assert [grad is not None for grad in found[1:]] == list(needs)
    for first, second in zip(found, run("grid_sample", shapes, *tensors, needs=needs)):
        assert first is second is None or torch.allclose(first, second, atol=2e-5)


def test_without_queries_nothing_comes_out_and_values_have_no_gradient():
    output, value_grad, *_ = run("triton", [(2, 2)], *make_inputs([(2, 2)], queries=0))
    assert output.shape == (2, 0, 8)
    assert not value_grad.any()


def test_points_far_outside_read_zeros_and_have_no_gradient():
    value, locations, weights = make_inputs([(3, 2)])
    output, *grads = run("triton", [(3, 2)], value, torch.sign(locations) * 1e30, weights)
    assert not output.any()
    assert not any(grad.any() for grad in grads)


def test_permuting_queries_permutes_the_output():
    value, locations, weights = make_inputs([(4, 5)], queries=6, points=1)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        output = deformable_attention(value, [(4, 5)], locations, weights, "triton")
        permuted = deformable_attention(value, [(4, 5)], locations[:, order], weights[:, order], "triton")
    torch.testing.assert_close(permuted, output[:, order], atol=0, rtol=0)


def test_torch_knows_the_operators():
    """Shapes without values, gradients under tracing: what `torch.compile` needs."""
    value, locations, weights = (tensor.requires_grad_() for tensor in make_inputs([(2, 2)], batch=1, points=1))
    torch.library.opcheck(OPERATOR.default, (value, _level_table(((2, 2),), value.device), locations, weights))


def test_double_precision_is_refused():
    tensors = make_inputs([(2, 2)])
    with pytest.raises(ValueError, match=r"float64 locations"):
        deformable_attention(tensors[0], [(2, 2)], tensors[1].double(), tensors[2], "triton")


def test_trying_out_succeeds_even_in_inference():
    with torch.inference_mode():
        try_out("cpu")
        assert torch.is_inference_mode_enabled()

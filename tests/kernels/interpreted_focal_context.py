"""The focal context's Triton kernels in Triton's interpreter; `test_focal_context_triton.py` starts this file.

New memory is filled with NaN, so whatever a kernel forgets to write shows. The reference is the plain implementation
in float64.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.kernels import focal_context_triton as kernels_module
from focalnet_d2.kernels.focal_context import focal_context
from tests.kernels.test_focal_context import inputs_for, outputs_and_gradients
from tests.kernels.triton_interpreter import poisoned_memory  # noqa: F401  autouse


def assert_right(inputs, tolerance=1e-6):
    """Results and gradients differ from float64 by no more than this share of their largest value."""
    context, gates, kernels = inputs
    found = outputs_and_gradients("triton", context, gates, kernels)
    exact = outputs_and_gradients("plain", context.double(), gates.double(), [kernel.double() for kernel in kernels])
    for number, (one, true) in enumerate(zip(found, exact, strict=True)):
        error = (one.double() - true).abs().max() / true.abs().max()
        assert error < tolerance, f"tensor {number}: {error}"  # NaN is not less, either


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 2),
    height=st.integers(1, 4),
    width=st.integers(1, 10),
    channels=st.sampled_from([1, 3, 8]),
    kernels=st.lists(st.sampled_from([1, 3, 5]), min_size=1, max_size=3),
    slices=st.booleans(),
)
def test_agrees_with_float64(batch, height, width, channels, kernels, slices):
    shape = (batch, height, width, channels)
    assert_right(inputs_for(shape, kernels, dtype=torch.float32, slices=slices))


@pytest.mark.parametrize("kernel", [7, 9, 11, 13])
def test_kernels_wider_than_the_map(kernel):
    assert_right(inputs_for((1, 3, 2, 2), (kernel,), dtype=torch.float32))


def test_many_programs_in_every_direction(monkeypatch):
    """65 channels need two programs, 9 rows and columns two each, and four programs share the lines of both images."""
    monkeypatch.setattr(kernels_module, "_PROGRAMS", 4)
    assert_right(inputs_for((2, 9, 9, 65), (3, 1), dtype=torch.float32))


def test_a_slice_whose_positions_are_aligned_is_not_copied():
    wide = torch.randn(2, 3, 4, 12)
    maps, step = kernels_module._maps(wide[..., 4:8], alignment=16)
    assert maps.data_ptr() == wide[..., 4:8].data_ptr()
    assert step == 12
    for other in (wide[..., 1:5], wide.flip(2), wide[:, 1:], wide.transpose(1, 2)):  # skewed, backwards, gaps, turned
        maps, step = kernels_module._maps(other, alignment=16)
        assert maps.is_contiguous()
        assert step == other.shape[-1]
    assert_right((wide[..., 4:8], wide[..., 8:9], [torch.randn(4, 1, 3, 3)]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    """Gradients have the types of what they belong to; kernels stay in float32, as under autocast."""
    context, gates, kernels = inputs_for((1, 4, 3, 4), (3, 5), dtype=torch.float32)
    inputs = context.to(dtype), gates.to(dtype), kernels
    found = outputs_and_gradients("triton", *inputs)
    assert [tensor.dtype for tensor in found] == [dtype] * 4 + [torch.float32] * 2
    assert_right(inputs, 4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_result_alone_has_gradients(wanted):
    context, gates, kernels = inputs_for((1, 2, 3, 2), (3, 1), dtype=torch.float32)
    leaves = [tensor.detach().requires_grad_() for tensor in (context, gates, *kernels)]
    grads = [
        torch.autograd.grad(
            focal_context(leaves[0], leaves[1], leaves[2:], implementation)[wanted].sum(), leaves, allow_unused=True
        )
        for implementation in ("triton", "plain")
    ]
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, torch.zeros_like(found) if expected is None else expected)


def test_without_gradients_nothing_is_kept():
    context, gates, (kernel,) = inputs_for((1, 2, 3, 2), (3,), dtype=torch.float32)
    operator = torch.ops.focalnet_d2.triton_focal_context
    assert [kept.numel() for kept in operator(context, gates, kernel.flatten(1), [3], False)[2:]] == [0, 0]
    assert [kept.numel() for kept in operator(context, gates, kernel.flatten(1), [3], True)[2:]] == [0, 12]


def test_torch_knows_the_operators():
    """Shapes without values, gradients under tracing: what `torch.compile` needs."""
    context, gates, kernels = inputs_for((1, 2, 3, 2), (3, 1), dtype=torch.float32)
    tensors = [context, gates, torch.cat([kernel.flatten(1) for kernel in kernels], dim=1)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    torch.library.opcheck(torch.ops.focalnet_d2.triton_focal_context.default, (*tensors, [3, 1], True))


def test_the_second_derivative_is_refused():
    context, gates, kernels = inputs_for((1, 1, 1, 1), (1,), dtype=torch.float32)
    local, _ = focal_context(context.detach().requires_grad_(), gates, kernels, "triton")
    (grad,) = torch.autograd.grad(local.sum(), local.grad_fn.next_functions[0][0].variable, create_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        grad.sum().backward()


def test_what_does_not_fit_is_refused():
    context, gates, kernels = inputs_for((1, 2, 2, 1), (3,), dtype=torch.float32)
    with pytest.raises(ValueError, match="take no torch.float64"):
        focal_context(context.double(), gates, kernels, "triton")
    with pytest.raises(ValueError, match=r"are odd, not \[2\]"):
        focal_context(context, gates, [kernels[0][..., 1:, 1:]], "triton")


def test_trying_out_succeeds_even_in_inference():
    with torch.inference_mode():
        kernels_module.try_out("cpu")
        assert torch.is_inference_mode_enabled()

"""The compiled focal context and GELU: types, layouts, threads, no compiler, fake tensors."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from focalnet_d2.kernels import focal_context_cpp as module
from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT, focal_context
from focalnet_d2.kernels.focal_context_cpp import LIBRARY, focal_context_cpp, gelu, gelu_and_gradient

needs_kernel = pytest.mark.skipif(LIBRARY.load() is None, reason=LIBRARY.unavailable_reason())


def random_inputs(shape=(2, 6, 5, 20), kernels=(3, 5), dtype=torch.float32):
    """Context, gates and kernels, the latter in what is computed in."""
    draws = torch.Generator().manual_seed(0)
    context = torch.randn(shape, generator=draws).to(dtype)
    gates = torch.randn(*shape[:3], len(kernels), generator=draws).to(dtype)
    computed = torch.promote_types(dtype, torch.float32)
    return context, gates, [torch.randn(shape[3], 1, k, k, generator=draws).to(computed) / k for k in kernels]


def outcome(implementation, context, gates, kernels):
    """Both results, and the gradients of all inputs."""
    leaves = [one.detach().requires_grad_() for one in (context, gates, *kernels)]
    results = focal_context(leaves[0], leaves[1], leaves[2:], implementation)
    upstream = [torch.linspace(-1, 1, one.numel()).view(one.shape).to(one.dtype) for one in results]
    return [one.detach() for one in (*results, *torch.autograd.grad(results, leaves, upstream))]


def relative_error(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@needs_kernel
@settings(deadline=None, max_examples=20)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(6, 20), st.integers(6, 20), st.integers(8, 40)),
    kernels=st.lists(st.sampled_from([1, 3, 5, 7, 9, 15, 29]), min_size=1, max_size=4),
)
def test_bfloat16_is_computed_in_float32(shape, kernels):
    """Against float64 of the same numbers: only what is stored is rounded, to 3 digits; kernels' gradients are not."""
    context, gates, weights = random_inputs(shape, kernels, torch.bfloat16)
    found = outcome("compiled", context, gates, weights)
    exact = outcome("plain", context.double(), gates.double(), [kernel.double() for kernel in weights])
    assert [one.dtype for one in found] == [torch.bfloat16] * 4 + [torch.float32] * len(kernels)
    for one, expected in zip(found, exact, strict=True):
        assert relative_error(one, expected) < 1e-2


@needs_kernel
def test_autocast_gives_bfloat16_and_float32_gradients_of_the_kernels():
    context, gates, weights = random_inputs(dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        plain, ours = (outcome(one, context, gates, weights) for one in ("plain", "compiled"))
    assert [one.dtype for one in plain] == [one.dtype for one in ours]
    for found, expected in zip(ours, plain, strict=True):
        assert relative_error(found, expected) < 2e-2


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_layout_in_memory_does_not_matter(dtype):
    context, gates, weights = random_inputs(dtype=dtype)
    expected = outcome("compiled", context, gates, weights)
    strided = [one.transpose(1, 3).contiguous().transpose(1, 3) for one in (context, gates)]
    assert not strided[0].is_contiguous()
    turned = [kernel.transpose(2, 3).contiguous().transpose(2, 3) for kernel in weights]
    for found, one in zip(outcome("compiled", *strided, turned), expected, strict=True):
        assert found.equal(one)


@needs_kernel
def test_threads_change_no_bit(monkeypatch):
    inputs = random_inputs((2, 6, 5, 100))
    x = torch.randn(1000)
    expected, expected_gelu = outcome("compiled", *inputs), gelu(x)
    monkeypatch.setattr(module, "PRODUCTS_FOR_A_THREAD", 1)
    monkeypatch.setattr(module, "NUMBERS_FOR_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for found, one in zip(outcome("compiled", *inputs), expected, strict=True):
        assert found.equal(one)
    assert gelu(x).equal(expected_gelu)


@needs_kernel
def test_what_is_no_number_is_not_hidden():
    context, gates, weights = random_inputs((1, 9, 9, 3), (3,), torch.bfloat16)
    context[0, 4, 4, 1] = float("nan")
    local, pooled = focal_context(context, gates, weights, "compiled")
    assert local.isnan().nonzero().tolist() == [[0, y, x, 1] for y in (3, 4, 5) for x in (3, 4, 5)]
    assert pooled.isnan().tolist() == [[False, True, False]]


@needs_kernel
def test_shapes_that_do_not_fit_are_refused():
    """The library would read memory that is not theirs."""
    context, gates, weights = random_inputs()
    for wrong in ((context[..., :7], gates, weights), (context, gates[:1], weights), (context, gates, weights[:1])):
        with pytest.raises(ValueError, match="do not fit"):
            focal_context_cpp(*wrong)
    with pytest.raises(ValueError, match="do not fit"):
        focal_context_cpp(context, gates, [weights[0][..., :2], weights[1]])


@needs_kernel
def test_second_derivative_is_refused():
    context, gates, weights = random_inputs()
    local, _ = focal_context_cpp(context.requires_grad_(), gates, weights)
    (gradient,) = torch.autograd.grad(local.sum(), context, create_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        gradient.sum().backward()


@needs_kernel
def test_operators_keep_what_torch_expects_of_them():
    context, gates, weights = random_inputs()
    leaves = [one.requires_grad_() for one in (context, gates, *weights)]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    operator = torch.ops.focalnet_d2.focal_context.default
    torch.library.opcheck(operator, (*leaves[:2], leaves[2:], True), test_utils=tests)


@needs_kernel
def test_tensors_without_values():
    inputs = random_inputs()
    expected = [one.shape for one in outcome("compiled", *inputs)]
    with FakeTensorMode():
        assert [one.shape for one in outcome("compiled", *random_inputs())] == expected


@needs_kernel
def test_gelu_is_exact_to_the_rounding_of_float32():
    """Also where its value is a small difference of large ones."""
    x = torch.cat([torch.linspace(-8, 8, 200_003), torch.tensor([0.0, -0.0, 1e-30, 50.0, 1e30])])
    exact = x.double().requires_grad_()
    (ours, slope), expected = gelu_and_gradient(x, torch.ones_like(x)), F.gelu(exact)
    assert gelu(x).equal(ours)
    torch.testing.assert_close(ours.double(), expected, rtol=5e-6, atol=1e-15)
    (expected_slope,) = torch.autograd.grad(expected.sum(), exact)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=2e-6, atol=4e-7)
    assert gelu(torch.tensor([float("nan"), float("inf")])).isnan().tolist() == [True, False]


@needs_kernel
def test_gelu_of_other_types():
    x, upstream = torch.randn(2, 3, 37, dtype=torch.float64).requires_grad_()
    expected = F.gelu(x)
    (expected_gradient,) = torch.autograd.grad(expected, x, upstream)
    torch.testing.assert_close(gelu_and_gradient(x, upstream), (expected, expected_gradient))
    narrow = torch.linspace(-6, 6, 1001).bfloat16()
    torch.testing.assert_close(gelu(narrow), F.gelu(narrow.double()).bfloat16(), rtol=8e-3, atol=0)
    assert gelu(torch.zeros(0, 3)).shape == (0, 3)


def test_without_a_compiler_another_implementation_serves_silently(monkeypatch, tmp_path, capfd):
    source = tmp_path / "broken.cpp"
    source.write_text("this is not C++\n", encoding="utf-8")
    for attribute, value in (("source", source), ("_tried", False), ("_library", None), ("_unavailable_reason", "")):
        monkeypatch.setattr(LIBRARY, attribute, value)
    assert [one.name for one in FOCAL_CONTEXT.available("cpu")] == ["plain"]
    inputs = random_inputs()
    for found, expected in zip(focal_context(*inputs), focal_context(*inputs, "plain"), strict=True):
        assert found.equal(expected)
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_here_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    with pytest.raises(ValueError, match="FOCALNET_D2_COMPILE=0"):
        focal_context(*random_inputs(), "compiled")

"""The compiled implementation where others do not reach: layouts, threads, empty inputs, no compiler, fake tensors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from focalnet_d2.kernels import deformable_attention_cpp as module
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION, deformable_attention
from focalnet_d2.kernels.deformable_attention_cpp import LIBRARY, deformable_attention_cpp

needs_kernel = pytest.mark.skipif(LIBRARY.load() is None, reason=LIBRARY.unavailable_reason())
SHAPES = [(6, 5), (3, 2), (1, 1)]


def random_inputs(*, batch=2, queries=5, heads=3, channels=8, points=2, shapes=SHAPES, dtype=torch.float32):
    """Values, locations of which some are outside, weights."""
    value = torch.randn(batch, sum(h * w for h, w in shapes), heads, channels, dtype=dtype)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, dtype=dtype) * 1.6 - 0.3
    return value, locations, torch.rand(locations.shape[:-1], dtype=dtype)


def outcome(implementation, value, locations, weights, shapes=SHAPES):
    """Output and the three gradients."""
    leaves = [one.detach().requires_grad_() for one in (value, locations, weights)]
    output = deformable_attention(leaves[0], shapes, leaves[1], leaves[2], implementation)
    upstream = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return output.detach(), *torch.autograd.grad(output, leaves, upstream)


@needs_kernel
@given(
    channels=st.sampled_from([1, 2, 4, 7, 16, 31, 32, 48, 64, 67, 128]),
    points=st.sampled_from([1, 4, 11, 40]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_any_number_of_channels_and_points(channels, points, dtype):
    """More than one block of channels, more points than are held at once, and remainders of both."""
    inputs = random_inputs(channels=channels, points=points, queries=3, dtype=dtype)
    tolerance = dict(rtol=1e-4, atol=1e-4) if dtype is torch.float32 else dict(rtol=1e-10, atol=1e-10)
    for found, expected in zip(outcome("compiled", *inputs), outcome("grid_sample", *inputs), strict=True):
        torch.testing.assert_close(found, expected, **tolerance)


@needs_kernel
@given(
    channels=st.sampled_from([1, 4, 7, 8, 16, 32, 67]),
    half=st.sampled_from([torch.bfloat16, torch.float16]),
    all_half=st.booleans(),
)
def test_half_precision_is_summed_in_float32(channels, half, all_half):
    """bfloat16 is read as it is: bit for bit what its copy in float32 gives, narrowed at the end."""
    value, locations, weights = random_inputs(channels=channels)
    inputs = [value.to(half), *((locations.to(half), weights.to(half)) if all_half else (locations, weights))]
    found, *gradients = outcome("compiled", *inputs)
    copies = [one.float().requires_grad_() for one in inputs]
    expected = deformable_attention(copies[0], SHAPES, *copies[1:], "compiled")
    upstream = torch.linspace(-1, 1, expected.numel(), dtype=half).view(expected.shape).float()
    torch.testing.assert_close(found, expected.to(half), rtol=0, atol=0)
    for one, gradient in zip(gradients, torch.autograd.grad(expected, copies, upstream), strict=True):
        torch.testing.assert_close(one, gradient.to(one.dtype), rtol=0, atol=0)


@needs_kernel
def test_bfloat16_is_kept_for_the_backward_pass_as_it_is():
    value, locations, weights = random_inputs()
    value, kept = value.bfloat16().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        deformable_attention(value, SHAPES, locations, weights, "compiled")
    assert [one.dtype for one in kept if one.shape == value.shape] == [torch.bfloat16]


@needs_kernel
def test_layout_in_memory_does_not_matter():
    inputs = random_inputs()
    strided = [one.transpose(0, 2).contiguous().transpose(0, 2) for one in inputs]
    assert not any(one.is_contiguous() for one in strided)
    for found, expected in zip(outcome("compiled", *strided), outcome("compiled", *inputs), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@needs_kernel
@pytest.mark.parametrize("sizes", [{"batch": 1}, {"batch": 3, "heads": 1}, {"queries": 1}])
def test_threads_change_no_bit(sizes, monkeypatch):
    inputs = random_inputs(**sizes)
    expected = outcome("compiled", *inputs)
    monkeypatch.setattr(module, "POINTS_FOR_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for found, one in zip(outcome("compiled", *inputs), expected, strict=True):
        torch.testing.assert_close(found, one, rtol=0, atol=0)


@needs_kernel
@pytest.mark.parametrize("sizes", [{"queries": 0}, {"batch": 0}, {"points": 0}])
def test_nothing_to_sum(sizes):
    output, *gradients = outcome("compiled", *random_inputs(**sizes))
    assert not output.any()
    assert not any(one.any() for one in gradients)


@needs_kernel
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_location_that_is_no_number_is_not_hidden(bad):
    value, locations, weights = random_inputs()
    locations[0, 1, 2, 0, 0, 0] = bad
    output = deformable_attention(value, SHAPES, locations, weights, "compiled").view(2, 5, 3, 8)
    assert output[0, 1, 2].isnan().all()
    assert int(output.isnan().sum()) == 8


@needs_kernel
@pytest.mark.parametrize("wrong", ["level", "head", "image", "weights"])
def test_shapes_that_do_not_fit_are_refused(wrong):
    """The library would read memory that is not theirs."""
    value, locations, weights = random_inputs()
    shapes = [(6, 5), (7, 1)] if wrong == "level" else SHAPES
    if wrong in ("head", "image"):
        part = locations[:, :, :2] if wrong == "head" else locations[:1]
        locations, weights = part, torch.rand(part.shape[:-1])
    if wrong == "weights":
        weights = weights[:, :4]
    with pytest.raises(ValueError, match="fit"):
        deformable_attention_cpp(value, shapes, locations, weights)


@needs_kernel
def test_second_derivative_is_refused():
    value, locations, weights = (one.requires_grad_() for one in random_inputs())
    output = deformable_attention_cpp(value, SHAPES, locations, weights)
    (gradient,) = torch.autograd.grad(output.sum(), weights, create_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        gradient.sum().backward()


@needs_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_operators_keep_what_torch_expects_of_them(dtype):
    value, *others = random_inputs()
    inputs = [one.requires_grad_() for one in (value.to(dtype), *others)]
    operator = torch.ops.focalnet_d2.deformable_attention.default
    sides = [side for shape in SHAPES for side in shape]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, (inputs[0], sides, *inputs[1:]), test_utils=tests)


@needs_kernel
def test_tensors_without_values():
    with FakeTensorMode():
        output, *gradients = outcome("compiled", *random_inputs())
    assert output.shape == (2, 5, 24)
    assert [one.shape for one in gradients] == [one.shape for one in random_inputs()]


def test_without_a_compiler_another_implementation_serves_silently(monkeypatch, tmp_path, capfd):
    source = tmp_path / "broken.cpp"
    source.write_text("this is not C++\n", encoding="utf-8")
    for attribute, value in (("source", source), ("_tried", False), ("_library", None), ("_unavailable_reason", "")):
        monkeypatch.setattr(LIBRARY, attribute, value)
    assert [one.name for one in DEFORMABLE_ATTENTION.available("cpu")] == ["table_lookup", "grid_sample", "gather"]
    value, locations, weights = random_inputs()
    output = deformable_attention(value, SHAPES, locations, weights)
    expected = deformable_attention(value, SHAPES, locations, weights, "table_lookup")
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    assert capfd.readouterr() == ("", "")


def test_what_is_missing_here_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    value, locations, weights = random_inputs()
    with pytest.raises(ValueError, match="FOCALNET_D2_COMPILE=0"):
        deformable_attention(value, SHAPES, locations, weights, "compiled")

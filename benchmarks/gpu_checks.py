"""Checks every form of deformable attention and of the focal context against float64 on the CPU, for `gpu.py`.

New memory is filled with NaN meanwhile, so whatever a kernel forgets to write shows.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from focalnet_d2.kernels.deformable_attention import deformable_attention
from focalnet_d2.kernels.focal_context import focal_context

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 8e-3}  # shares of a tensor's largest value
ATTENTION_SIZES = [  # levels, heads, channels, points, queries
    ([(7, 5), (3, 3), (1, 1)], 3, 5, 2, 37),
    ([(20, 31), (10, 16), (5, 8), (3, 4)], 8, 32, 4, 301),
    ([(9, 2)], 1, 160, 1, 1),
]
CONTEXT_SIZES = [  # (B, H, W, C), kernels
    ((2, 31, 45, 192), (5, 7, 9)),
    ((1, 50, 84, 352), (3, 5, 7, 9)),
    ((3, 25, 42, 96), (9, 11, 13)),
    ((1, 1, 17, 5), (3, 13)),
]
TINY_ATTENTION_SIZES = [([(3, 5), (1, 1)], 3, 5, 1, 5)]
TINY_CONTEXT_SIZES = [((1, 2, 3, 3), (3, 1))]


def attention_inputs(levels: list[tuple[int, int]], heads: int, channels: int, points: int, queries: int) -> tuple:
    """(value, locations, weights): random points, a tenth outside, none where the derivative depends on rounding."""
    draws = torch.Generator().manual_seed(0)
    sizes = torch.tensor([(w, h) for h, w in levels])[:, None]
    value = torch.randn(1, sum(h * w for h, w in levels), heads, channels, generator=draws)
    texels = torch.rand(1, queries, heads, len(levels), points, 2, generator=draws) * 1.1 * sizes - 1
    texels = texels.floor() + (texels - texels.floor()).clamp(0.02, 0.98)
    weights = torch.rand(1, queries, heads, len(levels) * points, generator=draws).softmax(-1)
    return value, (texels + 0.5) / sizes, weights.view(1, queries, heads, len(levels), points)


def context_inputs(shape: Sequence[int], kernels: Sequence[int], device: str = "cpu") -> list[Tensor]:
    """[context, gates, kernel, ...], the first two slices of one tensor as in the network."""
    draws = torch.Generator(device).manual_seed(0)
    channels = shape[3]
    mixed = torch.randn(*shape[:3], 2 * channels + len(kernels) + 1, generator=draws, device=device)
    weights = [torch.randn(channels, 1, k, k, generator=draws, device=device) / k for k in kernels]
    return [mixed[..., channels : 2 * channels], mixed[..., 2 * channels : -1], *weights]


def results_and_gradients(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> list[Tensor]:
    """What it returns, and the gradients of all inputs for fixed gradients of that."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    results = function(*leaves)
    upstream = [torch.linspace(-1, 1, r.numel(), dtype=torch.float64).view(r.shape).to(r) for r in results]
    return [tensor.detach() for tensor in (*results, *torch.autograd.grad(results, leaves, upstream))]


def attention_cases(tiny: bool) -> list[tuple[Callable[[str], Callable], tuple[Tensor, ...]]]:
    """(form -> function, inputs) for every size."""

    def case(levels, *sizes):
        make = lambda form: lambda *inputs: [deformable_attention(inputs[0], levels, *inputs[1:], form)]  # noqa: E731
        return make, attention_inputs(levels, *sizes)

    return [case(*sizes) for sizes in (TINY_ATTENTION_SIZES if tiny else ATTENTION_SIZES)]


def context_cases(tiny: bool) -> list[tuple[Callable[[str], Callable], list[Tensor]]]:
    """(form -> function, inputs) for every size."""
    make = lambda form: lambda context, gates, *kernels: focal_context(context, gates, kernels, form)  # noqa: E731
    return [(make, context_inputs(*sizes)) for sizes in (TINY_CONTEXT_SIZES if tiny else CONTEXT_SIZES)]


def errors_of(form: str, exact_form: str, cases: list, device: str) -> dict[str, float]:
    """Largest error in units of the largest value, of results and gradients, over all cases; by type.

    Of deformable attention only the values have the type: locations and weights stay in float32.
    """
    errors = {}
    for dtype in TOLERANCE:
        worst = 0.0
        for make, inputs in cases:
            narrow = 1 if exact_form == "grid_sample" else len(inputs)
            low = [tensor.to(dtype) if number < narrow else tensor for number, tensor in enumerate(inputs)]
            exact = results_and_gradients(make(exact_form), [tensor.double() for tensor in low])
            found = results_and_gradients(make(form), [tensor.to(device) for tensor in low])
            for one, true in zip(found, exact, strict=True):
                error = (one.double().cpu() - true).abs().max() / true.abs().max()
                worst = max(worst, float(error.nan_to_num(nan=float("inf"))))
        errors[str(dtype).removeprefix("torch.")] = worst
    return errors


def check(attention_forms: Sequence[str], context_forms: Sequence[str], device: str) -> dict[str, dict[str, float]]:
    """Errors of all forms by type."""
    tiny, tf32 = device == "cpu", torch.backends.cudnn.allow_tf32
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills new memory with NaN
    torch.backends.cudnn.allow_tf32 = False  # of the plain forms, whose errors would be those of ten bits
    try:
        errors = {
            f"deformable attention, {form}": errors_of(form, "grid_sample", attention_cases(tiny), device)
            for form in attention_forms
        }
        return errors | {
            f"focal context, {form}": errors_of(form, "plain", context_cases(tiny), device) for form in context_forms
        }
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.allow_tf32 = tf32


def wrong(errors: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The forms whose errors are larger than `TOLERANCE`."""
    limits = {str(dtype).removeprefix("torch."): limit for dtype, limit in TOLERANCE.items()}
    return {form: row for form, row in errors.items() if not all(row[name] <= limits[name] for name in row)}

"""Checks every implementation of deformable attention and of the focal context on a card against float64 on the CPU.

    python -m focalnet_d2.kernels.gpu_check
    python -m focalnet_d2.kernels.gpu_check --rehearse     (tiny sizes on the CPU, where the results are compared, too;
                                                           with TRITON_INTERPRET=1 those of the Triton kernels)

New memory is filled with NaN meanwhile, so whatever a kernel forgets to write shows. Exit status: 1 if an
implementation is wrong, 2 without CUDA. `python benchmarks/run.py gpu` times them, after these checks.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .deformable_attention import deformable_attention
from .focal_context import focal_context

ATTENTION = ("grid_sample", "table_lookup", "triton")
CONTEXT = ("plain", "triton")

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


@dataclass(frozen=True)
class Case:
    """Inputs of one size.

    Attributes:
        compute: (name of an implementation, *inputs) -> results.
        exact: the implementation that is right in float64.
        inputs: float32 on the CPU.
        narrow: how many of them have the type that is checked; the others stay float32.
    """

    compute: Callable[..., Sequence[Tensor]]
    exact: str
    inputs: Sequence[Tensor]
    narrow: int

    def error(self, name: str, dtype: torch.dtype, device: str) -> float:
        """Largest error of an implementation in units of the largest value, of results and gradients."""
        low = [tensor.to(dtype) if number < self.narrow else tensor for number, tensor in enumerate(self.inputs)]
        exact = results_and_gradients(partial(self.compute, self.exact), [tensor.double() for tensor in low])
        found = results_and_gradients(partial(self.compute, name), [tensor.to(device) for tensor in low])
        errors = [
            (one.double().cpu() - true).abs().max() / true.abs().max() for one, true in zip(found, exact, strict=True)
        ]
        return float(torch.stack(errors).nan_to_num(nan=float("inf")).max())


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
    """[context (B, H, W, C), gates (B, H, W, L), kernel (C, 1, k, k), ...]; the first two are slices of one tensor."""
    draws = torch.Generator(device).manual_seed(0)
    channels = shape[3]
    mixed = torch.randn(*shape[:3], 2 * channels + len(kernels) + 1, generator=draws, device=device)
    weights = [torch.randn(channels, 1, k, k, generator=draws, device=device) / k for k in kernels]
    return [mixed[..., channels : 2 * channels], mixed[..., 2 * channels : -1], *weights]


def results_and_gradients(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> list[Tensor]:
    """What it returns, and the gradients of all inputs, each of its shape, for fixed gradients of that."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    results = function(*leaves)
    upstream = [torch.linspace(-1, 1, r.numel(), dtype=torch.float64).view(r.shape).to(r) for r in results]
    return [tensor.detach() for tensor in (*results, *torch.autograd.grad(results, leaves, upstream))]


def attention_cases(tiny: bool) -> list[Case]:
    """One for every size; only the values have the type that is checked, locations and weights stay in float32."""

    def case(levels: list[tuple[int, int]], *sizes: int) -> Case:
        def compute(name: str, value: Tensor, locations: Tensor, weights: Tensor) -> Sequence[Tensor]:
            return [deformable_attention(value, levels, locations, weights, name)]

        return Case(compute, "grid_sample", attention_inputs(levels, *sizes), narrow=1)

    return [case(*sizes) for sizes in (TINY_ATTENTION_SIZES if tiny else ATTENTION_SIZES)]


def context_cases(tiny: bool) -> list[Case]:
    """One for every size."""

    def compute(name: str, context: Tensor, gates: Tensor, *kernels: Tensor) -> Sequence[Tensor]:
        return focal_context(context, gates, kernels, name)

    all_sizes = TINY_CONTEXT_SIZES if tiny else CONTEXT_SIZES
    all_inputs = [context_inputs(shape, kernels) for shape, kernels in all_sizes]
    return [Case(compute, "plain", inputs, narrow=len(inputs)) for inputs in all_inputs]


def errors_of(name: str, cases: Sequence[Case], device: str) -> dict[str, float]:
    """Largest error in units of the largest value, of results and gradients, over all cases; by type."""
    return {_name(dtype): max(case.error(name, dtype, device) for case in cases) for dtype in TOLERANCE}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def implementations(device: str) -> dict[str, tuple[str, ...]]:
    """The names that can be checked here: on a CPU Triton runs only in its interpreter."""
    has_triton = device == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
    found = {"deformable attention": ATTENTION, "focal context": CONTEXT}
    return {what: tuple(one for one in names if has_triton or one != "triton") for what, names in found.items()}


def check(device: str) -> dict[str, dict[str, float]]:
    """Errors by implementation and type, on a CPU of tiny cases."""
    cases = {"deformable attention": attention_cases(device == "cpu"), "focal context": context_cases(device == "cpu")}
    tf32 = torch.backends.cudnn.allow_tf32
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills new memory with NaN
    torch.backends.cudnn.allow_tf32 = False  # of torch's convolutions, whose errors would be those of ten bits
    try:
        return {
            f"{what}, {name}": errors_of(name, cases[what], device)
            for what, names in implementations(device).items()
            for name in names
        }
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.allow_tf32 = tf32


def wrong(errors: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The implementations whose errors are larger than `TOLERANCE`."""
    limits = {_name(dtype): limit for dtype, limit in TOLERANCE.items()}
    return {name: row for name, row in errors.items() if not all(row[dtype] <= limits[dtype] for dtype in row)}


def main() -> int:
    """Checks, prints, and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="focalnet_d2.kernels.gpu_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        print("There is no CUDA device: nothing was checked.", file=sys.stderr)
        return 2
    errors = check("cpu" if options.rehearse else "cuda")
    print(json.dumps(errors, indent=1))
    if found := wrong(errors):
        print(f"These implementations are wrong: {', '.join(found)}.", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

"""Checks every form of deformable attention on a CUDA card, then times it, the card's ceilings and whole FocalNets.

    python benchmarks/gpu.py                  (writes benchmarks/results/gpu_<card>.json)
    python benchmarks/gpu.py --rehearse       (tiny sizes on the CPU, nothing is written; with TRITON_INTERPRET=1 where
                                               the Triton kernels are to be rehearsed, too)

First each form is compared with float64 on the CPU, new memory filled with NaN; times follow only if all agree. Forms
take turns, forwards and backwards through the list (A B B A); a row has the median and the spread in milliseconds, by
CUDA events, and the ratio to the first form, `grid_sample`. Exit status: 1 if a form is wrong, 2 without CUDA.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from focalnet_d2.layers.deformable_attention import deformable_attention
from focalnet_d2.modeling.focalnet import FocalNet
from focalnet_d2.modeling.variants import FOCALNET_VARIANTS

RESULTS = Path(__file__).parent / "results"
FOUR_SCALES = [(100, 167), (50, 84), (25, 42), (13, 21)]  # of 800x1333: 22223 tokens
FIVE_SCALES = [(200, 334), *FOUR_SCALES]  # 89023 tokens
TINY = [(2, 2)]
CHECKED = [  # levels, heads, channels, points, queries
    ([(7, 5), (3, 3), (1, 1)], 3, 5, 2, 37),
    ([(20, 31), (10, 16), (5, 8), (3, 4)], 8, 32, 4, 301),
    ([(9, 2)], 1, 160, 1, 1),
]
CHECKED_TINY = [([(3, 5), (1, 1)], 3, 5, 1, 5)]
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 3e-3}
Inputs = tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]


def make_inputs(levels: list[tuple[int, int]], heads: int, channels: int, points: int, queries: int) -> Inputs:
    """Random points, a tenth of them outside, all away from texel borders, where the derivative depends on rounding."""
    draws = torch.Generator().manual_seed(0)
    sizes = torch.tensor([(w, h) for h, w in levels])[:, None]
    value = torch.randn(1, sum(h * w for h, w in levels), heads, channels, generator=draws)
    texels = torch.rand(1, queries, heads, len(levels), points, 2, generator=draws) * 1.1 * sizes - 1
    texels = texels.floor() + (texels - texels.floor()).clamp(0.02, 0.98)
    weights = torch.rand(1, queries, heads, len(levels) * points, generator=draws).softmax(-1)
    return value, levels, (texels + 0.5) / sizes, weights.view(1, queries, heads, len(levels), points)


def forward_and_backward(form: str, inputs: Inputs) -> list[Tensor]:
    """Output and the gradients of its sum with fixed coefficients."""
    value, levels, locations, weights = inputs
    leaves = [tensor.detach().requires_grad_() for tensor in (value, locations, weights)]
    output = deformable_attention(leaves[0], levels, leaves[1], leaves[2], form)
    upstream = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape)
    output.backward(upstream.to(output))
    return [output.detach(), *(leaf.grad for leaf in leaves)]


def errors_of(form: str, device: str) -> dict[str, float]:
    """Largest error in units of the largest value, of output and gradients, over all shapes; by type."""
    errors = {}
    for dtype in TOLERANCE:
        worst = 0.0
        for levels, *sizes in CHECKED_TINY if device == "cpu" else CHECKED:
            value, _, locations, weights = make_inputs(levels, *sizes)
            low = value.to(dtype), levels, locations, weights
            expected = forward_and_backward(
                "grid_sample", (low[0].double(), levels, locations.double(), weights.double())
            )
            found = forward_and_backward(form, (low[0].to(device), levels, locations.to(device), weights.to(device)))
            for one, true in zip(found, expected):
                error = (one.double().cpu() - true).abs().max() / true.abs().max()
                worst = max(worst, float(error.nan_to_num(nan=float("inf"))))
        errors[str(dtype).removeprefix("torch.")] = worst
    return errors


def check(forms: list[str], device: str) -> dict[str, dict[str, float]]:
    """Errors of all forms, with new memory filled with NaN.

    Raises:
        SystemExit: with status 1, a form is wrong.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        errors = {form: errors_of(form, device) for form in forms}
    finally:
        torch.use_deterministic_algorithms(False)
    limits = {str(dtype).removeprefix("torch."): limit for dtype, limit in TOLERANCE.items()}
    wrong = {form: row for form, row in errors.items() if any(row[name] > limits[name] for name in row)}
    if wrong:
        print(f"wrong, so nothing is timed: {json.dumps(wrong)}", file=sys.stderr)
        raise SystemExit(1)
    return errors


def milliseconds(run: Callable[[], object], device: str) -> float:
    """Time of one call, on the card's own clock where there is a card."""
    if device == "cpu":
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1e3
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def take_turns(routes: dict[str, Callable[[], object]], device: str, rounds: int) -> dict[str, dict]:
    """Median and spread of every route; the ratio says how many times as fast as the first it is."""
    for run in [*routes.values()] * (1 if device == "cpu" else 3):  # kernels are made, memory is reserved
        run()
    times = {name: [] for name in routes}
    for number in range(rounds):
        for name in list(routes)[:: 1 if number % 2 == 0 else -1]:
            times[name].append(milliseconds(routes[name], device))
    medians = {name: statistics.median(found) for name, found in times.items()}
    first = next(iter(medians.values()))
    return {
        name: {"median_ms": medians[name], "spread_ms": [min(found), max(found)], "ratio": first / medians[name]}
        for name, found in times.items()
    }


def time_ceilings(device: str, rounds: int, side: int) -> dict[str, float]:
    """Copy bandwidth and rate of bf16 matrix products."""
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    source = torch.empty(side * side * 16, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    rows = take_turns({"copy": lambda: target.copy_(source), "gemm": lambda: left @ right}, device, rounds)
    return {
        "copy_gb_per_s": 2 * source.numel() / rows["copy"]["median_ms"] / 1e6,
        "bf16_gemm_tflop_per_s": 2 * side**3 / rows["gemm"]["median_ms"] / 1e9,
    }


def time_attention(forms: list[str], levels: list, device: str, rounds: int) -> dict[str, dict]:
    """Encoder calls: a query for every token, 8 heads of 32 channels, 4 points, bf16 values."""
    queries = sum(h * w for h, w in levels)
    value, _, locations, weights = make_inputs(levels, 8, 32, 4, queries)
    value, locations, weights = value.to(device, torch.bfloat16), locations.to(device), weights.to(device)
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    upstream = torch.randn(1, queries, 256, device=device).bfloat16()

    def forward(form: str) -> Tensor:
        return deformable_attention(leaves[0], levels, leaves[1], leaves[2], form)

    def inference(form: str) -> Tensor:
        with torch.no_grad():
            return forward(form)

    def training(form: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(forward(form), leaves, upstream)

    return {
        "forward": take_turns({form: lambda form=form: inference(form) for form in forms}, device, rounds),
        "forward and backward": take_turns({form: lambda form=form: training(form) for form in forms}, device, rounds),
    }


def time_backbone(variant: dict, size: tuple[int, int], device: str, rounds: int) -> dict:
    """Forward of one image under bf16 autocast, without a compiler."""
    model = FocalNet(**variant).to(device).eval()
    image = torch.randn(1, 3, *size, device=device)

    def forward() -> dict[str, Tensor]:
        with torch.no_grad(), torch.autocast(device.partition(":")[0], torch.bfloat16):
            return model(image)

    return take_turns({"eager bf16": forward}, device, rounds)


def measure(device: str, forms: list[str], rounds: int) -> dict:
    """The whole table; on the CPU only at tiny sizes."""
    tiny = device == "cpu"
    result = {"errors against float64": check(forms, device)}
    result["ceilings"] = time_ceilings(device, rounds, 64 if tiny else 8192)
    for name, levels in (("4 scales", FOUR_SCALES), ("5 scales", FIVE_SCALES)):
        result[f"deformable attention, {name}"] = time_attention(forms, TINY if tiny else levels, device, rounds)
    small = {"embed_dim": 8, "depths": (1, 1, 1, 1)}
    for name in ("large_fl4", "huge_fl4"):
        variant, size = (small, (64, 64)) if tiny else (FOCALNET_VARIANTS[name], (800, 1333))
        result[f"FocalNet {name} forward, {size[0]}x{size[1]}"] = time_backbone(variant, size, device, rounds)
    return result


def main() -> None:
    """Checks, measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="measured calls of every form")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU; the times mean nothing")
    arguments = parser.parse_args()
    forms = ["grid_sample", "table_lookup", "triton"]
    if arguments.rehearse:
        kept = forms if os.environ.get("TRITON_INTERPRET") == "1" else forms[:2]
        print(json.dumps(measure("cpu", kept, arguments.rounds), indent=1))
        return
    if not torch.cuda.is_available():
        print("no CUDA device: nothing was checked or timed", file=sys.stderr)
        raise SystemExit(2)
    card = torch.cuda.get_device_name()
    versions = {"torch": str(torch.__version__), "cuda": torch.version.cuda}
    result = {"date": str(date.today()), "card": card, **versions, **measure("cuda", forms, arguments.rounds)}
    text = json.dumps(result, indent=1)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gpu_{re.sub('[^A-Za-z0-9]+', '_', card)}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

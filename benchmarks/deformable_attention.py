"""Every form of deformable attention on the CPU beside one `grid_sample` a level: forward, and forward with backward.

    python benchmarks/deformable_attention.py --json benchmarks/results/deformable_attention.json     (some minutes)
    python benchmarks/deformable_attention.py --cases "encoder 320x480" --rounds 2
    python benchmarks/deformable_attention.py --cases --recipe dino_focalnet_mini_coco --size 480 640

Shapes are those of DINO with 4 scales (strides 8 to 64), 8 heads of 32 channels and 4 points: an encoder call has a
query for each token, the decoder call 900. Points lie 4 texels around their query (standard deviation). One thread; the
forms take turns, forth and back (A B C C B A) in each round, so that other load hits all. CPU seconds of the process,
median and spread; a ratio is the median of the rounds' ratios. With a recipe also losses and gradients of its model.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from unittest import mock

import torch
from detectron2.config import instantiate
from torch import Tensor
from training_step import make_batch

from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.doctor import cpu_description
from focalnet_d2.layers.deformable_attention import (
    IMPLEMENTATIONS,
    MultiScaleDeformableAttention,
    available_implementations,
    deformable_attention,
)

HEADS, CHANNELS, POINTS, SPREAD = 8, 32, 4, 4.0  # the last in texels
REFERENCE = "grid_sample"
CASES = {
    "encoder 320x480": ((320, 480), None),
    "encoder 480x640": ((480, 640), None),
    "encoder 800x1333": ((800, 1333), None),
    "decoder 800x1333, 900 queries": ((800, 1333), 900),
}


def make_inputs(size: tuple[int, int], queries: int | None) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    """One image's arguments of `deformable_attention`; without a number of queries, one at the centre of each texel."""
    draws = torch.Generator().manual_seed(0)
    shapes = [tuple(-(-side // stride) for side in size) for stride in (8, 16, 32, 64)]
    if queries is None:
        centres = [torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w) for h, w in shapes]
        reference = torch.cat(centres).flip(-1)  # (Q, 2) xy
    else:
        reference = torch.rand(queries, 2, generator=draws)
    value = torch.randn(1, sum(h * w for h, w in shapes), HEADS, CHANNELS, generator=draws)
    offsets = torch.randn(1, len(reference), HEADS, len(shapes), POINTS, 2, generator=draws) * SPREAD
    texel = torch.tensor([(1 / w, 1 / h) for h, w in shapes])[:, None]  # (L, 1, 2)
    weights = torch.rand(offsets.shape[:-1], generator=draws).flatten(3).softmax(-1).view(offsets.shape[:-1])
    return value, shapes, reference[None, :, None, None, None] + offsets * texel, weights


def steps(inputs: tuple, form: str) -> dict[str, Callable[[], list[Tensor]]]:
    """What is measured: each step gives what it computed."""
    value, shapes, locations, weights = inputs
    leaves = [one.clone().requires_grad_() for one in (value, locations, weights)]
    upstream = torch.randn(1, locations.shape[1], HEADS * CHANNELS, generator=torch.Generator().manual_seed(1))

    def forward() -> list[Tensor]:
        with torch.no_grad():
            return [deformable_attention(value, shapes, locations, weights, form)]

    def forward_backward() -> list[Tensor]:
        output = deformable_attention(leaves[0], shapes, leaves[1], leaves[2], form)
        return list(torch.autograd.grad(output, leaves, upstream))

    return {"forward": forward, "forward + backward": forward_backward}


def measure(case: str, rounds: int) -> dict[str, dict[str, dict]]:
    """Step -> form -> CPU seconds, ratio to `grid_sample` and largest difference from it."""
    inputs = make_inputs(*CASES[case])
    names = [REFERENCE, *(form.name for form in available_implementations("cpu") if form.name != REFERENCE)]
    routes = {name: steps(inputs, name) for name in names}
    return {step: compare({name: routes[name][step] for name in names}, rounds) for step in routes[REFERENCE]}


def measure_model(recipe: str, size: tuple[int, int], rounds: int) -> dict[str, dict[str, dict]]:
    """The same for losses and gradients of a model with random weights, on one image with 8 objects.

    Its points are moved from texel centres, where a fresh model has them and rounding decides their derivatives.
    """
    torch.manual_seed(0)
    model = instantiate(load_recipe(recipe).model).train()
    for layer in model.modules():
        if isinstance(layer, MultiScaleDeformableAttention):
            layer.sampling_offsets.bias.data += torch.randn_like(layer.sampling_offsets.bias)
    batch = make_batch(size, 1, 8, model.num_classes)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def route(form: str) -> Callable[[], list[Tensor]]:
        only = [one for one in IMPLEMENTATIONS if one.name == form]

        def run() -> list[Tensor]:
            torch.manual_seed(1)  # noise, dropped paths
            with mock.patch("focalnet_d2.layers.deformable_attention.IMPLEMENTATIONS", only):
                loss = sum(model(batch).values())
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            return [loss.detach(), torch.cat([one.flatten() for one in gradients if one is not None])]

        return run

    names = [REFERENCE, *(form.name for form in available_implementations("cpu") if form.name != REFERENCE)]
    return {"forward + backward": compare({name: route(name) for name in names}, rounds)}


def compare(routes: dict[str, Callable[[], list[Tensor]]], rounds: int) -> dict[str, dict]:
    """One row a form; the first is what the others are compared with."""
    first, *_ = routes
    expected = routes[first]()
    differences = {name: relative_difference(run(), expected) for name, run in routes.items()}  # also warms up
    seconds = {name: [] for name in routes}
    for _ in range(rounds):
        taken = dict.fromkeys(routes, 0.0)
        for name in (*routes, *reversed(routes)):
            start = time.process_time()
            routes[name]()
            taken[name] += (time.process_time() - start) / 2
        for name, value in taken.items():
            seconds[name].append(value)
    return {
        name: {
            "cpu_s": statistics.median(values),
            "spread_s": [min(values), max(values)],
            "ratio": statistics.median(a / b for a, b in zip(seconds[first], values, strict=True)),
            "difference": differences[name],
        }
        for name, values in seconds.items()
    }


def relative_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest norm of a difference, as a share of the norm."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True))


def print_table(groups: dict[str, dict[str, dict[str, dict]]]) -> None:
    """A line for each form."""
    for case, of_step in groups.items():
        for step, rows in of_step.items():
            print(f"{case}, {step}")
            for name, row in rows.items():
                low, high = (1e3 * value for value in row["spread_s"])
                times = f"{1e3 * row['cpu_s']:9.2f} ms ({low:.2f} to {high:.2f})"
                print(f"  {name:<14} {times:<34} {row['ratio']:6.2f}x  difference {row['difference']:.1e}")


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--recipe", help="also measure its model")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"), help="of its image")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        groups = {case: measure(case, options.rounds) for case in options.cases}
        if options.recipe:
            title = "{} {}x{}".format(options.recipe, *options.size)
            groups[title] = measure_model(options.recipe, tuple(options.size), options.rounds)
    finally:
        torch.set_num_threads(threads)
    print_table(groups)
    for form in IMPLEMENTATIONS:
        if reason := form.obstacle():
            print(f"{form.name} is left out: {reason}")
    if options.json is not None:
        machine = {"machine": cpu_description()[0], "cpus": os.cpu_count(), "torch": str(torch.__version__)}
        content = {"date": str(date.today()), **machine, "threads": 1, "rounds": options.rounds, "groups": groups}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Every form of deformable attention on the CPU beside one `grid_sample` a level: forward, and forward with backward.

    python benchmarks/deformable_attention.py --json                        (all rows, one thread; some minutes)
    python benchmarks/deformable_attention.py --cases "encoder 320x480" --rounds 2

Shapes are those of DINO with 4 scales (strides 8 to 64), 8 heads of 32 channels and 4 points: an encoder call has a
query for each token, the decoder call 900. Points lie 4 texels around their query (standard deviation). In bfloat16 the
values are, while locations and weights are float32; the plain form is float32 in all rows.
"""

from collections.abc import Callable
from functools import partial

import torch
from measuring import compare, make_parser, make_row, report, save
from torch import Tensor

from focalnet_d2.kernels.deformable_attention import IMPLEMENTATIONS, available_implementations, deformable_attention

HEADS, CHANNELS, POINTS, SPREAD = 8, 32, 4, 4.0  # the last in texels
PLAIN = "grid_sample"
CASES = {
    "encoder 320x480": ((320, 480), None),
    "encoder 480x640": ((480, 640), None),
    "encoder 800x1333": ((800, 1333), None),
    "decoder 800x1333, 900 queries": ((800, 1333), 900),
}
GOALS = {
    "forward": {"table_lookup": 4.0, "compiled": 15.0},
    "forward + backward": {"table_lookup": 2.0, "compiled": 12.0},
}


def make_inputs(size: tuple[int, int], queries: int | None) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    """One image's arguments of `deformable_attention`; without a number of queries, one at the centre of each texel."""
    draws = torch.Generator().manual_seed(0)
    shapes = [tuple(-(-side // stride) for side in size) for stride in (8, 16, 32, 64)]
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


def forward(inputs: tuple, form: str, dtype: torch.dtype) -> list[Tensor]:
    """The sums."""
    value, shapes, locations, weights = inputs
    with torch.no_grad():
        return [deformable_attention(value.to(dtype), shapes, locations, weights, form)]


def forward_backward(inputs: tuple, form: str, dtype: torch.dtype) -> list[Tensor]:
    """Gradients of values, locations and weights."""
    value, shapes, locations, weights = inputs
    leaves = [one.detach().requires_grad_() for one in (value.to(dtype), locations, weights)]
    output = deformable_attention(leaves[0], shapes, leaves[1], leaves[2], form)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    return list(torch.autograd.grad(output, leaves, upstream))


STEPS: dict[str, Callable] = {"forward": forward, "forward + backward": forward_backward}


def measure(case: str, step: str, rounds: int) -> list[dict]:
    """A row for each form and precision; all take turns."""
    inputs, run = make_inputs(*CASES[case]), STEPS[step]
    forms = [(form.name, "float32") for form in available_implementations("cpu") if form.name != PLAIN]
    forms += [(name, "bfloat16") for name, _ in forms if name == "compiled"]
    calls = {"plain": partial(run, inputs, PLAIN, torch.float32)}
    calls |= {form: partial(run, inputs, form[0], getattr(torch, form[1])) for form in forms}
    measured = compare(calls, rounds)
    return [
        make_row(
            f"deformable attention, {case}, {step}",
            {"plain": measured["plain"], name: measured[name, precision]},
            precision=precision,
            **({"goal": GOALS[step][name]} if precision == "float32" else {}),
        )
        for name, precision in forms
    ]


def main() -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for case in options.cases:
        for step in options.steps:
            for row in measure(case, step, options.rounds):
                report(row)
                rows.append(row)
    for form in IMPLEMENTATIONS:
        if reason := form.unavailable_reason():
            print(f"{form.name} is left out: {reason}")
    save(options.json, "deformable_attention", rows)


if __name__ == "__main__":
    main()

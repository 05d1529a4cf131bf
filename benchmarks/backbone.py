"""FocalNet on the CPU beside a plain form of it, with the same weights: time, and share of the machine's GEMM rate.

    python benchmarks/backbone.py --json                 (all rows, one thread; some minutes)
    python benchmarks/backbone.py --networks FocalNet-T --sizes 64x96 --rounds 1     (smoke run)

The plain form (`plain_focalnet.py`) is float32 in all rows. "forward" is without gradients, "forward + backward" with
those of all parameters and the image. The library's form runs as trainer and evaluation run it, inside
`fast_cpu_matmul`, and for bfloat16 under autocast. Shares are of the matrix-product rates that are measured at the
start.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from measuring import Result, compare, count_gflop, make_parser, make_row, matmul_rates, parse_size, report, save
from plain_focalnet import plain_focalnet
from torch import Tensor

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul

FORWARD, TRAINING = "forward", "forward + backward"
NETWORKS = {
    "FocalNet-T": FOCALNET_VARIANTS["tiny_lrf"],
    "FocalNet-B": FOCALNET_VARIANTS["base_lrf"],
    "FocalNet-T 9,11,13": {**FOCALNET_VARIANTS["tiny_lrf"], "focal_windows": (9,) * 4},
}
AMP = {"float32": None, "bfloat16": torch.bfloat16}
GOALS = {
    ("FocalNet-T", FORWARD): {"float32": 2.0, "bfloat16": 3.5},
    ("FocalNet-T", TRAINING): {"float32": 2.0, "bfloat16": 3.2},
    ("FocalNet-B", FORWARD): {"float32": 2.0, "bfloat16": 3.5},
    ("FocalNet-B", TRAINING): {"float32": 2.0, "bfloat16": 3.2},
    ("FocalNet-T 9,11,13", TRAINING): {"float32": 2.7, "bfloat16": 4.4},
}
CPU = torch.device("cpu")


def library_focalnet(network: FocalNet, image: Tensor, amp: torch.dtype | None) -> dict[str, Tensor]:
    """The network itself."""
    with torch.autocast("cpu", amp, enabled=amp is not None):
        return network(image)


def forward_only(form: Callable, network: FocalNet, image: Tensor) -> list[Tensor]:
    """Maps of the four stages."""
    with torch.no_grad():
        return list(form(network, image).values())


def forward_backward(form: Callable, network: FocalNet, image: Tensor) -> list[Result]:
    """Gradients of the image, and of all parameters."""
    image = image.detach().requires_grad_()
    maps = form(network, image).values()
    total = sum((feature * _wave_like(feature)).mean() for feature in maps)
    image_grad, *grads = torch.autograd.grad(total, [image, *network.parameters()])
    return [image_grad, grads]


def _wave_like(x: Tensor) -> Tensor:
    """Fixed numbers of all signs; the outputs are normalised, so that a sum of squares would have no gradient."""
    return torch.arange(x.numel(), dtype=torch.float32).sin().view(x.shape)


def as_run(function: Callable) -> list[Result]:
    """`function()` on the faster route of matrix products."""
    with fast_cpu_matmul(CPU):
        return function()


PASSES = {FORWARD: forward_only, TRAINING: forward_backward}


def measure(name: str, size: tuple[int, int], arguments: argparse.Namespace, rates: dict[str, float]) -> list[dict]:
    """The rows of a network and an image size."""
    torch.manual_seed(0)
    network, image = FocalNet(**NETWORKS[name]), torch.randn(1, 3, *size)
    forward_gflop, rows = count_gflop(partial(forward_only, plain_focalnet, network, image)), []
    for title in arguments.passes:
        gflop = forward_gflop * (3 if title == TRAINING else 1)
        for precision in arguments.precisions:
            library = partial(library_focalnet, amp=AMP[precision])
            forms = {
                "plain": partial(PASSES[title], plain_focalnet, network, image),
                "library": partial(as_run, partial(PASSES[title], library, network, image)),
            }
            measured = compare(forms, arguments.rounds)
            seconds = measured["library"]["seconds"]
            shares = {route: round(gflop / seconds / rate, 2) for route, rate in rates.items() if precision in route}
            details = {"precision": precision, "goal": GOALS.get((name, title), {}).get(precision)}
            case = f"{name} {title} {size[0]}x{size[1]}"
            row = make_row(case, measured, **details, gflop=round(gflop, 1), share_of=shares)
            rows.append(row)
            report(row)
    return rows


def main() -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=2)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=[(320, 480), (512, 512)], metavar="HxW")
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=list(PASSES), metavar="PASS")
    parser.add_argument("--precisions", nargs="+", default=list(AMP), choices=list(AMP))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rates, rows = matmul_rates(), []
    for name in arguments.networks:
        for size in arguments.sizes:
            rows += measure(name, size, arguments, rates)
    save(arguments.json, "backbone", rows, gflops=rates)


if __name__ == "__main__":
    main()

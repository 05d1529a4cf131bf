"""FocalNet on the CPU beside a plain form of it, with the same weights: time, and share of the machine's GEMM rate.

    python benchmarks/backbone.py --json                 (all rows, one thread; some minutes)
    python benchmarks/backbone.py --networks FocalNet-T --sizes 64x96 --rounds 1     (smoke run)

The plain form states the paper's equations channels first and in float32: contiguous NCHW maps between the linear
layers, ordinary convolutions, plain `F.linear`. "forward" is without gradients, "forward + backward" with those of all
parameters and the image. The library's form runs as trainer and evaluation run it, inside `fast_cpu_matmul`, and for
bfloat16 under autocast. Shares are of the matrix-product rates that are measured at the start.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measuring import Result, compare, count_gflop, make_parser, make_row, matmul_rates, parse_size, report, save
from torch import Tensor, nn

from focalnet_d2.engine.cpu_matmul import fast_cpu_matmul
from focalnet_d2.modeling.focalnet import FocalBlock, FocalModulation, FocalNet
from focalnet_d2.modeling.variants import FOCALNET_VARIANTS

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


def plain_linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """(..., C_in) -> (..., C_out)."""
    return F.linear(x, layer.weight, layer.bias)


def plain_modulation(layer: FocalModulation, x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H, W, C)."""
    mixed = plain_linear(layer.f, x).permute(0, 3, 1, 2).contiguous()
    query, context, gates = mixed.split([layer.dim, layer.dim, layer.focal_level + 1], dim=1)
    gathered = 0.0
    for level, (conv, _) in enumerate(layer.focal_layers):
        context = F.gelu(F.conv2d(context, conv.weight, padding=conv.padding, groups=layer.dim))
        gathered = gathered + context * gates[:, level : level + 1]
    everything = F.gelu(context.mean(2, keepdim=True).mean(3, keepdim=True))
    gathered = gathered + everything * gates[:, layer.focal_level :]
    modulator = F.conv2d(gathered, layer.h.weight, layer.h.bias)
    return plain_linear(layer.proj, (query * modulator).permute(0, 2, 3, 1).contiguous())


def plain_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """(..., C) -> (..., C)."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def plain_block(block: FocalBlock, x: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, H, W, C), norms before the branches."""
    x = x + plain_modulation(block.modulation, plain_norm(block.norm1, x))
    hidden = F.gelu(plain_linear(block.mlp.fc1, plain_norm(block.norm2, x)))
    return x + plain_linear(block.mlp.fc2, hidden)


def plain_patches(embed: nn.Module, x: Tensor) -> Tensor:
    """(B, C_in, H, W) -> (B, H / stride, W / stride, C)."""
    x = F.conv2d(x, embed.proj.weight, embed.proj.bias, embed.proj.stride)
    batch, channels, height, width = x.shape
    tokens = plain_norm(embed.norm, x.flatten(2).transpose(1, 2))  # (B, N, C)
    return tokens.view(batch, height, width, channels)


def plain_focalnet(network: FocalNet, image: Tensor) -> dict[str, Tensor]:
    """What `network(image)` is, for a network without the flags of the large variants; sides are multiples of 32."""
    x, maps = plain_patches(network.patch_embed, image), {}
    for stage, layer in enumerate(network.layers):
        for block in layer.blocks:
            x = plain_block(block, x)
        norm = getattr(network, f"norm{stage}")
        maps[f"res{stage + 2}"] = plain_norm(norm, x).permute(0, 3, 1, 2).contiguous()
        if layer.downsample is not None:
            x = plain_patches(layer.downsample, x.permute(0, 3, 1, 2).contiguous())
    return maps


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

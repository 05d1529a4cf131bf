"""FocalNet on the CPU beside a plain form of it, with the same weights: time, and share of the machine's GEMM rate.

    python benchmarks/backbone.py --json                 (all rows, one thread; some minutes)
    python benchmarks/backbone.py --networks tiny_lrf --sizes 64x96 --rounds 1     (smoke run)

The plain form states the paper's equations channels first: contiguous NCHW maps between the linear layers, ordinary
convolutions, plain `F.linear`. Forward is without gradients, "forward + backward" with those of all parameters and the
image. Times are CPU seconds of the process; the two forms take turns (A B B A). The library's form runs as trainer and
evaluation run it, inside `fast_cpu_matmul`. Shares are of the matrix-product rates that are measured at the start, on
the route that torch takes by itself (MKL where it was built with it) and on the oneDNN route.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from focalnet_d2.doctor import cpu_description
from focalnet_d2.engine.cpu_matmul import choice, fast_cpu_matmul, onednn_matmul
from focalnet_d2.modeling.focalnet import FocalBlock, FocalModulation, FocalNet
from focalnet_d2.modeling.variants import FOCALNET_VARIANTS

RESULTS = Path(__file__).parent / "results" / "backbone.json"
NETWORKS = {
    "tiny_lrf": FOCALNET_VARIANTS["tiny_lrf"],
    "base_lrf": FOCALNET_VARIANTS["base_lrf"],
    "tiny_lrf, windows 9": {**FOCALNET_VARIANTS["tiny_lrf"], "focal_windows": (9,) * 4},
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


def library_focalnet(network: FocalNet, image: Tensor) -> dict[str, Tensor]:
    """The network itself."""
    return network(image)


def forward_only(form: Callable, network: FocalNet, image: Tensor) -> list[Tensor]:
    """Maps of the four stages."""
    with torch.no_grad():
        return list(form(network, image).values())


def forward_backward(form: Callable, network: FocalNet, image: Tensor) -> list[Tensor]:
    """Gradients of the image and of all parameters."""
    image = image.detach().requires_grad_()
    maps = form(network, image).values()
    total = sum((feature * _wave_like(feature)).mean() for feature in maps)
    return list(torch.autograd.grad(total, [image, *network.parameters()]))


def _wave_like(x: Tensor) -> Tensor:
    """Fixed numbers of all signs; the outputs are normalised, so that a sum of squares would have no gradient."""
    return torch.arange(x.numel(), dtype=torch.float32).sin().view(x.shape)


def scoped(function: Callable) -> list[Tensor]:
    """`function()` on the faster route of matrix products."""
    with fast_cpu_matmul(CPU):
        return function()


def cpu_seconds(function: Callable) -> float:
    """CPU time of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def take_turns(plain: Callable, library: Callable, rounds: int) -> dict:
    """Medians and ranges of the two, called A B B A in each round; the ratio is the median over the pairs."""
    times = {"plain": [], "library": []}
    for _ in range(rounds):
        for name, function in (("plain", plain), ("library", library), ("library", library), ("plain", plain)):
            times[name].append(cpu_seconds(function))
    ratios = [a / b for a, b in zip(times["plain"], times["library"], strict=True)]
    row = {f"{name}_s": round(statistics.median(values), 4) for name, values in times.items()}
    row |= {f"{name}_range_s": [round(min(values), 4), round(max(values), 4)] for name, values in times.items()}
    return row | {"ratio": round(statistics.median(ratios), 2), "ratio_range": [round(r, 2) for r in _ends(ratios)]}


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def relative_difference(expected: list[Tensor], found: list[Tensor]) -> float:
    """Largest difference of a tensor's values by its largest value, over all tensors."""
    pairs = zip(expected, found, strict=True)
    return max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in pairs)


def matmul_rates() -> dict[str, float]:
    """GFLOP/s of float32 linear layers of several shapes, by route; the best counts."""
    shapes = ((9600, 96, 384), (2400, 192, 768), (600, 384, 1536), (512, 512, 512))
    rates = {"default": 0.0, "onednn": 0.0}
    for rows, inputs, outputs in shapes:
        x, layer = torch.randn(rows, inputs), nn.Linear(inputs, outputs).requires_grad_(False)
        for route, scope in (("default", nullcontext), ("onednn", onednn_matmul)):
            with scope():
                layer(x)
                seconds = min(cpu_seconds(partial(layer, x)) for _ in range(8))
            rates[route] = max(rates[route], 2 * rows * inputs * outputs / seconds / 1e9)
    return {route: round(rate, 1) for route, rate in rates.items()}


def count_flops(network: FocalNet, image: Tensor) -> float:
    """GFLOP of a forward pass in linear layers and convolutions, 2 for a multiplication with an addition."""
    with FlopCounterMode(display=False) as counter:
        forward_only(plain_focalnet, network, image)
    return counter.get_total_flops() / 1e9


def measure(name: str, size: tuple[int, int], rounds: int, rates: dict[str, float]) -> list[dict]:
    """The two rows of a network and an image size."""
    torch.manual_seed(0)
    network, image = FocalNet(**NETWORKS[name]), torch.randn(1, 3, *size)
    gflop, rows = count_flops(network, image), []
    for title, run, share in (("forward", forward_only, 1), ("forward + backward", forward_backward, 3)):
        plain = partial(run, plain_focalnet, network, image)
        library = partial(scoped, partial(run, library_focalnet, network, image))
        row = {"network": name, "size": list(size), "pass": title, "gflop": round(share * gflop, 1)}
        row["difference"] = relative_difference(plain(), library())
        row |= take_turns(plain, library, rounds)
        row["share_of"] = {route: round(share * gflop / row["library_s"] / rate, 2) for route, rate in rates.items()}
        rows.append(row)
        print(
            f"{name:20} {size[0]}x{size[1]} {title:18} plain {row['plain_s']:.3f} s, library {row['library_s']:.3f} s, "
            f"ratio {row['ratio']:.2f} {row['ratio_range']}, difference {row['difference']:.0e}, "
            f"share of default / oneDNN rate {row['share_of']['default']:.2f} / {row['share_of']['onednn']:.2f}"
        )
    return rows


def machine() -> dict:
    """Processor, software and threads."""
    return {
        "date": str(date.today()),
        "cpu": cpu_description()[0],
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--sizes", nargs="+", default=["320x480", "512x512"], metavar="HxW")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", nargs="?", const=RESULTS, type=Path, metavar="FILE", help="also write the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rates = matmul_rates()
    print(f"float32 products: {rates['default']} GFLOP/s by default, {rates['onednn']} by oneDNN; {choice().reason}")
    sizes = [tuple(map(int, size.split("x"))) for size in arguments.sizes]
    rows = [
        row for name in arguments.networks for size in sizes for row in measure(name, size, arguments.rounds, rates)
    ]
    if arguments.json:
        result = {"machine": machine(), "gflops": rates, "route": choice().reason, "rows": rows}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""`torch.compile` (inductor) of backbone and encoder on the CPU beside eager mode, with the time that compiling takes.

    python benchmarks/compiled.py --json                 (all rows, one thread; some minutes, most of them compiling)
    python benchmarks/compiled.py --modules encoder --sizes 64x96 --passes forward --backend eager     (smoke run)

Both forms are the library's, inside `fast_cpu_matmul`, as training and evaluation run it; "compile_s" is the wall time
of the first call. The encoder is DINO's, of 6 layers, on four levels of an image of that size.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from measuring import compare, make_parser, make_row, parse_size, report, save
from torch import Tensor, nn

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.layers.deformable_encoder import DeformableEncoder

MODULES = ("backbone", "encoder")
PASSES = ("forward", "forward + backward")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
STRIDES = (8, 16, 32, 64)  # of the encoder's levels


def make_module(name: str, size: tuple[int, int]) -> tuple[nn.Module, tuple]:
    """The module and what it is called with."""
    torch.manual_seed(0)
    if name == "backbone":
        return FocalNet(**FOCALNET_VARIANTS["tiny_lrf"]), (torch.randn(1, 3, *size),)
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]
    tokens, position = torch.randn(2, 1, sum(h * w for h, w in shapes), 256).unbind()
    return DeformableEncoder(), (tokens, position, shapes, torch.ones(1, len(shapes), 2))


def run(module: Callable, inputs: tuple, parameters: list[Tensor], dtype: torch.dtype | None) -> list[Tensor]:
    """Outputs, or their gradients with respect to the parameters if there are any."""
    with fast_cpu_matmul("cpu"), torch.set_grad_enabled(bool(parameters)):
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            outputs = module(*inputs)
        outputs = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
        if not parameters:
            return outputs
        return list(torch.autograd.grad(sum(output.float().square().mean() for output in outputs), parameters))


def measure(name: str, size: tuple[int, int], which: str, precision: str, *, backend: str, rounds: int) -> dict:
    """One row."""
    module, inputs = make_module(name, size)
    parameters = list(module.parameters()) if which == "forward + backward" else []
    module.train(bool(parameters))
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    forms = {
        form: partial(run, called, inputs, parameters, PRECISIONS[precision])
        for form, called in (("eager", module), ("compiled", compiled))
    }
    start = time.perf_counter()
    forms["compiled"]()
    seconds = round(time.perf_counter() - start, 1)
    what = {"backbone": "FocalNet-T", "encoder": "DINO's encoder"}[name]
    case = f"{what} {which} {size[0]}x{size[1]}"
    return make_row(case, compare(forms, rounds, reference_keeps_memory=True), precision=precision, compile_s=seconds)


def main() -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--modules", nargs="+", choices=MODULES, default=MODULES)
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=[(320, 480)], metavar="HxW")
    parser.add_argument("--passes", nargs="+", choices=PASSES, default=PASSES)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--backend", default="inductor")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for name in arguments.modules:
        for size in arguments.sizes:
            for which in arguments.passes:
                for precision in arguments.precisions:
                    options = {"backend": arguments.backend, "rounds": arguments.rounds}
                    rows.append(measure(name, size, which, precision, **options))
                    report(rows[-1])
                    print(f"  compiled in {rows[-1]['compile_s']} s", flush=True)
    save(arguments.json, "compiled", rows)


if __name__ == "__main__":
    main()

"""`torch.compile` of backbone and encoder on the CPU beside eager mode, with the time that compiling takes.

Both are the library's, inside `fast_cpu_matmul`, as training and evaluation run it; "compile_s" is the wall time of the
first call. The encoder is DINO's, of 6 layers, on four levels of an image of that size.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.work import Timed
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.layers.deformable_encoder import DeformableEncoder

STRIDES = (8, 16, 32, 64)  # of the encoder's levels


def make_module(name: str, size: tuple[int, int]) -> tuple[nn.Module, tuple]:
    """The module and what it is called with."""
    torch.manual_seed(0)
    if name == "backbone":
        return FocalNet(**FOCALNET_VARIANTS["tiny_lrf"]), (torch.randn(1, 3, *size),)
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in STRIDES]
    tokens, position = torch.randn(2, 1, sum(h * w for h, w in shapes), 256).unbind()
    return DeformableEncoder(), (tokens, position, shapes, torch.ones(1, len(shapes), 2))


def run(module: Callable, inputs: tuple, parameters: list[Tensor], precision: str) -> list[Tensor]:
    """Outputs, or their gradients with respect to the parameters if there are any."""
    with fast_cpu_matmul("cpu"), torch.set_grad_enabled(bool(parameters)):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = module(*inputs)
        outputs = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
        if not parameters:
            return outputs
        return list(torch.autograd.grad(sum(output.float().square().mean() for output in outputs), parameters))


def build(name: str, *, training: bool, backend: str, size: tuple[int, int], precision: str) -> Timed:
    """`name`: "backbone" or "encoder"; `backend`: of `torch.compile`."""
    module, inputs = make_module(name, size)
    parameters = list(module.parameters()) if training else []
    module.train(training)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    eager, fast = (partial(run, called, inputs, parameters, precision) for called in (module, compiled))
    start = time.perf_counter()
    fast()
    seconds = round(time.perf_counter() - start, 1)
    implementations = {"eager": eager, "compiled": fast}
    return Timed(implementations, details={"compile_s": seconds})

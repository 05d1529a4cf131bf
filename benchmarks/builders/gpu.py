"""Times on a CUDA card: every implementation of the kernels, whole FocalNets, a training step of DINO-H.

First each implementation is compared with float64 on the CPU (`focalnet_d2.kernels.gpu_check`); nothing is timed unless
all agree. "reference" is what the published code does, by our own hand: one `grid_sample` a level and focal modulation
channels first, without fused kernels, the backbone recomputed in DINO's training; "library" is what CUDA takes by
default; "triton" what FOCALNET_D2_TRITON=1 takes. Everything is bf16 (autocast), one image. Times are those of CUDA
events. A small run is a rehearsal with tiny sizes on the CPU, whose times mean nothing; with TRITON_INTERPRET=1 it goes
through the Triton kernels, too.
"""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from detectron2.config import instantiate
from torch import Tensor

from benchmarks.builders.inputs import images_with_boxes
from benchmarks.work import Timed, UnavailableError
from focalnet_d2.backbone.focalnet import FocalModulation, FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels import gpu_check
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION, deformable_attention
from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT, focal_context
from focalnet_d2.modeling.flops import count_model, count_multiply_adds, shapes_only
from tests.reference.focalnet import reference_levels, reference_modulation

MAPS = ((200, 334), (100, 167), (50, 84), (25, 42))  # of the four stages
LEVELS = {"4-scale": [(100, 167), (50, 84), (25, 42), (13, 21)]}  # 22223 tokens
LEVELS["5-scale"] = [(200, 334), *LEVELS["4-scale"]]  # 89023 tokens
CONTEXTS = {  # channels of the first stage, kernels
    "T": (96, (3, 5, 7)),
    "T, wide windows": (96, (9, 11, 13)),
    "L": (192, (3, 5, 7, 9)),
    "H": (352, (3, 5, 7, 9)),
}
TILES = (
    *({}, {"_TILE": 1024}, {"_TILE": 4096}, {"_COLUMNS": 16}, {"_WINDOW": 2048}, {"_STEPS": 2}),
    *({"_PROGRAMS": 512}, {"_PROGRAMS": 2048}),
)
TINY_NETWORK = {"embed_dim": 4, "depths": (1,), "focal_levels": (2,), "focal_windows": (1,), "out_features": ("res2",)}
BATCH = 20  # calls in a row of what takes less than a millisecond


class Card:
    """What is measured on, and how; its kernels are right.

    Args:
        tiny: this is a rehearsal on the CPU.

    Attributes:
        gemm: GFLOP/s of bf16 matrix products.
        about: what the file of results says about the card.

    Raises:
        UnavailableError: there is no card.
        AssertionError: an implementation is wrong.
    """

    def __init__(self, *, tiny: bool):
        if not tiny and not torch.cuda.is_available():
            raise UnavailableError("there is no CUDA device: nothing was checked or timed")
        self.tiny = tiny
        self.device = "cpu" if tiny else "cuda"
        self.has_triton = not tiny or os.environ.get("TRITON_INTERPRET") == "1"
        torch.manual_seed(0)
        errors = gpu_check.check(self.device)
        assert not gpu_check.wrong(errors), f"these are wrong, so nothing is timed: {json.dumps(errors)}"
        self.about = {
            "card": "none: a rehearsal" if tiny else torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "errors against float64": errors,
            "ceilings": self._ceilings(),
        }
        self.gemm = self.about["ceilings"]["bf16_tflop_per_s"] * 1e3

    def names(self, *names: str) -> list[str]:
        """The implementations that run here."""
        return [name for name in names if self.has_triton or "triton" not in name]

    def seconds(self, function: Callable[[], object], calls: int = 1) -> float:
        """Mean of some calls, on the card's own clock where there is a card."""
        if self.tiny:
            start = time.perf_counter()
            function()
            return time.perf_counter() - start
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / calls

    def timed(self, implementations: dict[str, Callable], *, calls: int = 1, **options: Any) -> Timed:
        """The work of a case."""
        seconds, rates = partial(self.seconds, calls=calls), lambda: {"bfloat16": self.gemm}
        details = {"precision": "bfloat16", **options.pop("details", {})}
        return Timed(implementations, seconds, rates=rates, details=details, about=dict(self.about), **options)

    def _ceilings(self) -> dict[str, float]:
        """Copy bandwidth, read and written, and the rate of bf16 matrix products."""
        side = 64 if self.tiny else 8192
        left, right = (torch.randn(side, side, device=self.device).bfloat16() for _ in range(2))
        source = torch.empty(side * side * 16, dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        medians = []
        for work in (partial(target.copy_, source), partial(torch.mm, left, right)):
            times = [self.seconds(work, BATCH) for _ in range(13)][3:]
            medians.append(statistics.median(times))
        copied, products = 2 * source.numel() / medians[0] / 1e9, 2 * side**3 / medians[1] / 1e12
        return {"copy_gb_per_s": copied, "bf16_tflop_per_s": products}


get_card = cache(Card)


@contextmanager
def taking(name: str) -> Iterator[None]:
    """A block in which FocalNets and deformable attention take "reference", "library" or "triton"."""
    with ExitStack() as stack:
        if name == "reference":
            stack.enter_context(patch.object(FocalModulation, "forward", reference_modulation))
            stack.enter_context(DEFORMABLE_ATTENTION.only("grid_sample"))
        elif name == "triton":
            stack.enter_context(DEFORMABLE_ATTENTION.only("triton"))
            stack.enter_context(FOCAL_CONTEXT.only("triton"))
        else:
            stack.enter_context(patch.dict(os.environ, {"FOCALNET_D2_TRITON": "0"}))
        yield


def run_taking(name: str, function: Callable[[], list[Tensor]]) -> list[Tensor]:
    """`function()` in `taking(name)`."""
    with taking(name):
        return function()


def graphed(function: Callable[[], list[Tensor]]) -> Callable[[], list[Tensor]]:
    """The function as a CUDA graph, which starts all its kernels at once."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function()

    def replay() -> list[Tensor]:
        graph.replay()
        return outputs

    return replay


def build_attention(name: str, *, training: bool, tiny: bool) -> Timed:
    """An encoder call on `LEVELS`: a query for every token, 8 heads of 32 channels, 4 points."""
    card, levels = get_card(tiny=tiny), [(2, 2)] if tiny else LEVELS[name]
    queries = sum(h * w for h, w in levels)
    value, *points = (tensor.to(card.device) for tensor in gpu_check.attention_inputs(levels, 8, 32, 4, queries))
    leaves = [tensor.requires_grad_() for tensor in (value.bfloat16(), *points)]
    upstream = torch.randn(1, queries, 256, device=card.device).bfloat16()

    def run(implementation: str) -> Sequence[Tensor]:
        with torch.set_grad_enabled(training):
            output = deformable_attention(leaves[0], levels, *leaves[1:], implementation)
        return torch.autograd.grad(output, leaves, upstream) if training else [output]

    return card.timed(
        {"reference": partial(run, "grid_sample")}
        | {one: partial(run, one) for one in card.names("table_lookup", "triton")}
    )


def context_sizes(name: str, stage: int, tiny: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(1, H, W, C) of a stage of `CONTEXTS`, and kernels."""
    channels, kernels = CONTEXTS[name]
    return ((1, 2, 2, 2), (3, 1)) if tiny else ((1, *MAPS[stage - 1], channels * 2 ** (stage - 1)), kernels)


def reference_context(context: Tensor, gates: Tensor, *kernels: Tensor) -> tuple[Tensor, Tensor]:
    """The focal context channels first, with the copies that this takes."""
    gathered, last = reference_levels(*(x.permute(0, 3, 1, 2).contiguous() for x in (context, gates)), kernels)
    return gathered.permute(0, 2, 3, 1).contiguous(), last.mean((2, 3))


def library_context(implementation: str, context: Tensor, gates: Tensor, *kernels: Tensor) -> tuple[Tensor, Tensor]:
    """The focal context by an implementation of the library."""
    return focal_context(context, gates, kernels, implementation)


def run_context(function: Callable, leaves: Sequence[Tensor], training: bool) -> Sequence[Tensor]:
    """Results, or gradients of everything."""
    with torch.set_grad_enabled(training):
        results = function(*leaves)
    return torch.autograd.grad(results, leaves, [torch.ones_like(one) for one in results]) if training else results


def build_context(name: str, stage: int, *, training: bool, tiny: bool) -> Timed:
    """The focal context of a stage at 800x1333."""
    card, (shape, kernels) = get_card(tiny=tiny), context_sizes(name, stage, tiny)
    inputs = [x.bfloat16().requires_grad_() for x in gpu_check.context_inputs(shape, kernels, card.device)]
    functions = {"reference": reference_context, "channels last": partial(library_context, "plain")}
    functions |= {one: partial(library_context, one) for one in card.names("triton")}
    gflop = 2 * shape[1] * shape[2] * shape[3] * sum(k * k for k in kernels) / 1e9 * (3 if training else 1)
    implementations = {one: partial(run_context, function, inputs, training) for one, function in functions.items()}
    return card.timed(implementations, calls=BATCH, gflop=lambda: gflop)


def build_tiles(*, training: bool, tiny: bool) -> Timed:
    """Other tiles than those that the Triton kernels were written with, to choose by."""
    card = get_card(tiny=tiny)
    if not card.has_triton:
        raise UnavailableError("the Triton kernels run on a card, or with TRITON_INTERPRET=1")
    from focalnet_d2.kernels import focal_context_triton as kernels_module  # it imports triton, which is optional

    shape, kernels = ((1, 2, 2, 2), (3, 1)) if tiny else ((1, 100, 167, 384), (5, 7, 9))
    inputs = [x.bfloat16().requires_grad_() for x in gpu_check.context_inputs(shape, kernels, card.device)]

    def tiled(settings: dict[str, int]) -> Sequence[Tensor]:
        with patch.dict(vars(kernels_module), settings):
            return run_context(partial(library_context, "triton"), inputs, training)

    return card.timed({str(one): partial(tiled, one) for one in TILES[: 2 if tiny else None]}, calls=BATCH)


def build_projection(name: str, stage: int, *, tiny: bool) -> Timed:
    """Query, context and gates by one product, whose odd width misaligns them all, or the gates by a product apart."""
    card, ((_, height, width, dim), kernels) = get_card(tiny=tiny), context_sizes(name, stage, tiny)
    x = torch.randn(height * width, dim, device=card.device).bfloat16()
    weight = torch.randn(2 * dim + len(kernels) + 1, dim, device=card.device).bfloat16()

    def together() -> list[Tensor]:
        query, context, gates = F.linear(x, weight).split([dim, dim, len(weight) - 2 * dim], dim=-1)
        return [query, context.contiguous(), gates]

    def apart() -> list[Tensor]:
        return [*F.linear(x, weight[: 2 * dim]).split(dim, dim=-1), F.linear(x, weight[2 * dim :])]

    return card.timed({"reference": together, "apart": apart}, calls=BATCH)


def vivid(network: FocalNet) -> FocalNet:
    """The network with weights under which every block changes its input, so that differences mean something."""
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.xavier_uniform_(parameter)
        elif "gamma" in name:
            torch.nn.init.ones_(parameter)
    return network.eval()


def build_backbone(variant: str, *, size: tuple[int, int], tiny: bool) -> Timed:
    """Forward of a FocalNet."""
    card = get_card(tiny=tiny)
    settings = TINY_NETWORK if tiny else FOCALNET_VARIANTS[variant]
    with shapes_only():
        gflop = 2 * count_multiply_adds(partial(FocalNet(**settings), torch.empty(1, 3, *size))) / 1e9
    with torch.device(card.device):
        network, image = vivid(FocalNet(**settings)), torch.randn(1, 3, *size)

    def forward() -> list[Tensor]:
        with torch.no_grad(), torch.autocast(card.device, torch.bfloat16):
            return list(network(image).values())

    found = {one: partial(run_taking, one, forward) for one in card.names("reference", "library", "triton")}
    if not tiny:
        found |= {f"{one}, graph": graphed(found[one]) for one in ("library", "triton")}
    return card.timed(found, gflop=lambda: gflop)


def build_step(recipe: str, *, size: tuple[int, int], tiny: bool) -> Timed:
    """Forward, backward, clipping and AdamW of a DINO; 8 objects, learning rate 0."""
    card, config = get_card(tiny=tiny), load_recipe(recipe)
    with torch.device(card.device):
        model = instantiate(config.model).train()
    config.optimizer.model = model
    optimizer = instantiate(config.optimizer)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # every implementation meets the same weights
    batch = images_with_boxes(size, 1, 8, model.num_classes)

    def step(name: str) -> list[Tensor]:
        torch.manual_seed(0)
        for stage in model.backbone.bottom_up.layers:
            stage.use_checkpoint = name == "reference"
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(card.device, torch.bfloat16):
            losses = model(batch)
        total = sum(losses.values())
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.train.clip_norm)
        optimizer.step()
        return [total.detach()]

    names = ("reference", "library") if tiny else ("reference", "library", "triton")  # the interpreter takes hours
    found = {name: partial(run_taking, name, partial(step, name)) for name in names}
    gflop = 3 * 2 * count_model(lambda: instantiate(load_recipe(recipe).model), size).multiply_adds / 1e9
    finish = (lambda measured: {}) if tiny else partial(add_peaks, found)
    return card.timed(found, gflop=lambda: gflop, details={"goal_of_share": 0.25}, finish=finish)


def add_peaks(implementations: dict[str, Callable], measured: dict[str, dict]) -> dict:
    """Adds to each the bytes that tensors took at most."""
    for name, run in implementations.items():
        torch.cuda.reset_peak_memory_stats()
        run()
        measured[name]["peak_bytes"] = torch.cuda.max_memory_allocated()
    return {}

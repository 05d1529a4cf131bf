"""Memory of training: measured with and without activation checkpointing, and computed for what does not fit here.

    python benchmarks/memory.py --json             (some minutes, up to 6 GB)
    python benchmarks/memory.py --cases tiny_lrf@64x64 --plan --rounds 1         (smoke run)

A case is a FocalNet (forward and backward) or a recipe (losses and their gradients) with an image size. Every run of it
has a process of its own; `kept` keeps the activations of the backbone's blocks, `recomputed` does not. Memory is what
the process grew by at its peak, beside what `LiveBytes` counted.

The plan counts a training step of a DINO recipe with tensors that have shapes and no values. Autocast follows CUDA's
rules; deformable attention is `grid_sample` a level, as on CUDA without Triton, or one kernel that keeps its inputs
alone, as Triton's and the compiled one do. What it cannot know is what a card's libraries take for themselves, and what
the allocator loses between blocks.
"""

import argparse
import dataclasses
import itertools
import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from detectron2.config import instantiate
from measuring import cpu_seconds, in_new_process, make_parser, make_row, parse_size, peak_memory, report, save, summary
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary
from training_step import make_batch

from dino.denoising import DenoisingQueries
from dino.model import DINO
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.sharding import recomputed_modules
from focalnet_d2.kernels import depthwise_conv as depthwise
from focalnet_d2.kernels import focal_context
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.kernels.malloc import MMAP_THRESHOLD, keep_freed_memory, mallopt
from focalnet_d2.layers import deformable_attention
from focalnet_d2.modeling.flops import shapes_only
from focalnet_d2.set_prediction.targets import Targets, prepare_targets

CASES = (
    "tiny_lrf@512x512",
    "base_lrf@512x512",
    "tiny_lrf@800x1333",
    "base_lrf@800x1333",
    "dino_focalnet_tiny_lrf_4scale_12ep_detrex@480x640",
)
PLANS = ("dino_focalnet_huge@1200x2000",)
ATTENTION = {"grid_sample": "grid_sample", "one kernel": "compiled"}
RECOMPUTED = ((), ("backbone.bottom_up",), ("backbone.bottom_up", "encoder"))
OBJECTS = 20  # an image
GIB = 2**30


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make inside, as long as they live.

    Attributes:
        live: now.
        peak: at most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for storage in _storages((args, kwargs)):
            self._known[storage] = True  # of the caller, or counted already: a view of it makes nothing
        outputs = func(*args, **kwargs)
        for storage in _storages(outputs):
            if storage not in self._known:
                self._known[storage] = True
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return outputs

    def _add(self, count: int) -> None:
        self.live += count
        self.peak = max(self.peak, self.live)


def _storages(tree: object) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


# Measured


def make_work(name: str, size: tuple[int, int], recompute: bool) -> tuple[FocalNet, Callable[[], None]]:
    """The backbone of a case, and its training step without the optimizer."""
    torch.manual_seed(0)
    if name in FOCALNET_VARIANTS:
        model = network = FocalNet(**FOCALNET_VARIANTS[name], use_checkpoint=recompute).train()
        batch = torch.randn(1, 3, *size)
    else:
        recipe = apply_overrides(load_recipe(name), [f"model.backbone.bottom_up.use_checkpoint={recompute}"])
        model = instantiate(recipe.model).train()
        network, batch = model.backbone.bottom_up, make_batch(size, 1, OBJECTS, model.num_classes)

    def step() -> None:
        with fast_cpu_matmul("cpu"):
            sum(value.sum() for value in model(batch).values()).backward()
        model.zero_grad(set_to_none=True)

    return network, step


def run_once(name: str, size: tuple[int, int], recompute: bool) -> dict:
    """What one process measures: its growth and what was counted in the first step, CPU seconds of the third.

    In the first every large tensor goes back to the system when it is freed, where the C library is glibc.
    """
    network, step = make_work(name, size, recompute)
    mallopt(MMAP_THRESHOLD, 65536)
    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32))  # here libraries make what they keep
    before = peak_memory()
    with LiveBytes() as counted:
        step()
    grown = peak_memory() - before
    keep_freed_memory()  # as a run does
    step()
    return {"seconds": cpu_seconds(step), "grown_bytes": grown, "counted_bytes": counted.peak}


def measure(case: str, rounds: int) -> dict:
    """The row of a case; ratios are of seconds and of memory, `kept` by `recomputed`."""
    runs = {"kept": [], "recomputed": []}
    for turn in range(rounds):
        for form in sorted(runs, reverse=turn % 2):
            runs[form].append(in_new_process("--run", case, form))
    forms = summary({form: [run["seconds"] for run in found] for form, found in runs.items()})
    for form, found in runs.items():
        forms[form] |= {key: max(run[key] for run in found) for key in ("grown_bytes", "counted_bytes")}
    forms["recomputed"]["memory_ratio"] = round(forms["kept"]["grown_bytes"] / forms["recomputed"]["grown_bytes"], 2)
    row = make_row(f"{case.replace('@', ' ')} forward + backward", forms, precision="float32")
    report(row)
    for form, found in forms.items():
        print(f"  {form:<16} grew by {found['grown_bytes'] / GIB:.2f} GiB, counted {found['counted_bytes'] / GIB:.2f}")
    return row


# Computed


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function as CUDA's autocast runs it; the CPU's takes the type that it finds."""

    def run(x: Tensor, *args: object, **kwargs: object) -> Tensor:
        return function(x.float() if torch.is_autocast_enabled("cpu") else x, *args, **kwargs)

    return run


@contextmanager
def operators_of_cuda(attention: str) -> Iterator[None]:
    """The operators that a card would run, whatever this machine prefers."""
    form = next(form for form in deformable_attention.IMPLEMENTATIONS if form.name == ATTENTION[attention])
    form = dataclasses.replace(form, supports=lambda device_type, dtype: True)
    plain = [form for form in focal_context.IMPLEMENTATIONS if form.name == "plain"]
    with (
        patch.object(deformable_attention, "IMPLEMENTATIONS", [form]),
        patch.object(focal_context, "IMPLEMENTATIONS", plain),
        patch.object(depthwise, "is_faster", lambda *arguments: False),
        patch.object(F, "layer_norm", in_float32(F.layer_norm)),
        patch.object(F, "group_norm", in_float32(F.group_norm)),
        patch.object(Tensor, "softmax", in_float32(Tensor.softmax)),
    ):
        yield


def make_targets(model: DINO, size: tuple[int, int]) -> list[Targets]:
    """Of one made-up image."""
    instances = [sample["instances"] for sample in make_batch(size, 1, OBJECTS, model.num_classes)]
    return prepare_targets(instances, torch.device("cpu"), model.num_classes)


def kept_by_criterion(model: DINO, outputs: dict, targets: list[Targets], queries: DenoisingQueries) -> int:
    """Bytes that the losses of outputs of these shapes keep; the outputs get values, which the matching needs."""
    outputs = tree_map(
        lambda one: torch.rand(one.shape).requires_grad_() if one.is_floating_point() else torch.zeros(one.shape),
        outputs,
    )
    with LiveBytes() as counted:
        losses = model.criterion(outputs, targets, queries)
        return counted.live if losses else 0


class Marks:
    """What lived when a part of the network had run.

    Attributes:
        kept: bytes that each part leaves behind for the backward pass.
        blocks: the same of the blocks of each stage, the largest.
    """

    def __init__(self, model: DINO, counted: LiveBytes) -> None:
        self.counted = counted
        self.kept: dict[str, int] = {}
        self.blocks: dict[str, int] = {}
        self._before = 0
        parts = {"FocalNet": model.backbone.bottom_up, "neck": model.backbone, "encoder": model.encoder}
        for name, module in parts.items():
            module.register_forward_hook(lambda *arguments, name=name: self._add(name))
        for number, stage in enumerate(model.backbone.bottom_up.layers, 1):
            for block in stage.blocks:
                block.register_forward_pre_hook(self._enter)
                block.register_forward_hook(lambda *arguments, name=f"stage {number}": self._leave(name))

    def _add(self, name: str) -> None:
        self.kept[name] = self.counted.live - sum(self.kept.values())

    def _enter(self, *arguments: object) -> None:
        self._before = self.counted.live

    def _leave(self, stage: str) -> None:
        self.blocks[stage] = max(self.blocks.get(stage, 0), self.counted.live - self._before)

    def finish(self) -> None:
        """The forward pass is over."""
        self._add("queries, decoder, heads")


def account(name: str, size: tuple[int, int], *, precision: str, attention: str, recomputed: Sequence[str]) -> dict:
    """Bytes of a training step of one image.

    Returns:
        `kept` by each part at the end of the forward pass, `blocks` of the backbone a stage (where they are kept),
        `step_peak` (activations, gradients and temporaries together), `parameters`, `moments` of AdamW, and `total`,
        their sum; an averaged copy (EMA) adds `parameters` once more.
    """
    parts = ("backbone.bottom_up", "encoder", "decoder")
    recipe = apply_overrides(load_recipe(name), [f"model.{part}.use_checkpoint={part in recomputed}" for part in parts])
    with torch.device("meta"):
        model, network = instantiate(recipe.model).train(), instantiate(recipe.model).train()
    targets = make_targets(model, size)
    with torch.no_grad():
        queries = model.denoising.to_empty(device="cpu")(targets)
    parameters = sum(one.numel() * 4 for one in model.parameters())
    units = [sum(one.numel() * 4 for one in unit.parameters()) for unit in recomputed_modules(model)]
    with operators_of_cuda(attention), shapes_only():
        counted, marks, outputs = run_step(network.to_empty(device="cpu"), size, queries, precision)
    kept = {**marks.kept, "criterion": kept_by_criterion(model, outputs, targets, queries)}
    peak = counted.peak + kept["criterion"]
    return {
        "kept": kept,
        "blocks": {} if "backbone.bottom_up" in recomputed else marks.blocks,
        "step_peak": peak,
        "parameters": parameters,
        "moments": 2 * parameters,
        "total": 3 * parameters + peak,
        "largest_unit": max(units),
        "root_unit": parameters - sum(units),
    }


def run_step(network: DINO, size: tuple[int, int], queries: DenoisingQueries, precision: str):
    """Forward and backward without values: the counter, what modules kept, and outputs that only have shapes."""
    images, mask = torch.empty(1, 3, *size), torch.zeros(1, *size, dtype=torch.bool)
    counted = LiveBytes()
    marks = Marks(network, counted)
    with counted, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        outputs = network.predict(images, mask, queries)
    marks.finish()
    shapes = tree_map(lambda one: one.to("meta") if isinstance(one, Tensor) else one, outputs)
    with counted:
        loss = sum(one.float().sum() for one in tree_leaves(outputs) if one.requires_grad)
        del outputs
        loss.backward()
    return counted, marks, shapes


def plan(case: str) -> list[dict]:
    """The table of a recipe and an image size."""
    name, size = parse(case)
    rows = []
    choices = itertools.product(("float32", "bfloat16"), ATTENTION, RECOMPUTED)
    print(f"{case.replace('@', ' ')}, one image, GiB (computed)")
    for precision, attention, recomputed in choices:
        found = account(name, size, precision=precision, attention=attention, recomputed=recomputed)
        settings = {"precision": precision, "attention": attention, "recomputed": list(recomputed)}
        rows.append({"case": case, **settings, **found})
        parts = ", ".join(f"{part} {count / GIB:.2f}" for part, count in found["kept"].items())
        what = " and ".join(part.rpartition(".")[2] for part in recomputed) or "nothing"
        print(f"  {precision}, {attention}, {what} recomputed: {found['total'] / GIB:.1f}", end=" ")
        print(f"(weights and AdamW {3 * found['parameters'] / GIB:.1f}, step {found['step_peak'] / GIB:.1f}; {parts})")
        if found["blocks"]:
            print("    a block: " + ", ".join(f"{stage} {count / GIB:.3f}" for stage, count in found["blocks"].items()))
    return rows


def parse(case: str) -> tuple[str, tuple[int, int]]:
    """`NAME@HxW` -> name and size."""
    name, _, size = case.partition("@")
    return name, parse_size(size)


def main() -> None:
    """Measures, computes, prints, saves."""
    parser = make_parser(__doc__, rounds=2)
    parser.add_argument("--cases", nargs="*", default=CASES, metavar="NAME@HxW", help="to measure")
    parser.add_argument("--plan", nargs="*", default=PLANS, metavar="RECIPE@HxW", help="to compute")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.run:
        case, form = options.run
        print(json.dumps(run_once(*parse(case), form == "recomputed")))
        return
    rows = [measure(case, options.rounds) for case in options.cases]
    plans = [row for case in options.plan for row in plan(case)]
    save(options.json, "memory", rows, plan=plans)


if __name__ == "__main__":
    main()

"""Checks and times on a CUDA card: its ceilings, every form of the kernels, whole FocalNets, a training step of DINO-H.

    python benchmarks/gpu.py --json                               (all rows; writes results/gpu_<card>.json)
    python benchmarks/gpu.py --rows ceilings context tiles        (some of them)
    python benchmarks/gpu.py --rehearse                           (tiny sizes on the CPU: the times mean nothing; with
                                                                   TRITON_INTERPRET=1 the Triton kernels, too)

First each form is compared with float64 on the CPU (`gpu_checks.py`); times follow only if all agree. "plain" is what
the published code does, by our own hand: one `grid_sample` a level and focal modulation channels first, without fused
kernels, the backbone recomputed in DINO's training; "library" is what CUDA takes by default; "triton" what
FOCALNET_D2_TRITON=1 takes. Everything is bf16 (autocast), one image. Forms take turns; times are those of CUDA events.
Shares are of the rate of bf16 matrix products that was measured at the start. Exit status: 1 if a form is wrong, 2
without CUDA.
"""

import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from detectron2.config import instantiate
from gpu_checks import attention_inputs, check, context_inputs, wrong
from gpu_forms import context_forward, context_training, graphed, in_form, plain_context, seam_context, vivid
from measuring import compare, make_parser, make_row, report, save
from torch import Tensor
from training_step import make_batch

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.layers import deformable_attention as attention_seam
from focalnet_d2.modeling.flops import count_model, count_multiply_adds, shapes_only

SIZE = (800, 1333)
MAPS = ((200, 334), (100, 167), (50, 84), (25, 42))  # of the four stages
FOUR_SCALES = [(100, 167), (50, 84), (25, 42), (13, 21)]  # 22223 tokens
FIVE_SCALES = [(200, 334), *FOUR_SCALES]  # 89023 tokens
CONTEXTS = {  # channels of the first stage, kernels
    "T": (96, (3, 5, 7)),
    "T, wide windows": (96, (9, 11, 13)),
    "L": (192, (3, 5, 7, 9)),
    "H": (352, (3, 5, 7, 9)),
}
TINY_NETWORK = {"embed_dim": 4, "depths": (1,), "focal_levels": (2,), "focal_windows": (1,), "out_features": ("res2",)}
BATCH = 20  # calls in a row of what takes less than a millisecond


class Card:
    """What is measured on, and how.

    Attributes:
        device: "cuda", or "cpu" in a rehearsal.
        tiny: whether this is a rehearsal.
        rounds: A B B A turns of a row.
        kernels: the forms "triton" is among where its kernels can run.
        gemm: TFLOP/s of bf16 matrix products, once measured.
    """

    def __init__(self, *, rehearsal: bool, rounds: int):
        self.device = "cpu" if rehearsal else "cuda"
        self.tiny = rehearsal
        self.rounds = rounds
        self.has_triton = not rehearsal or os.environ.get("TRITON_INTERPRET") == "1"
        self.gemm = float("nan")

    def forms(self, *names: str) -> list[str]:
        """Those that run here."""
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

    def autocast(self) -> torch.autocast:
        """bf16."""
        return torch.autocast(self.device, torch.bfloat16)

    def row(self, case: str, forms: dict[str, Callable], *, calls: int = 1, gflop: float | None = None, **details):
        """Measures forms of one computation; prints and returns the row."""
        measured = compare(forms, self.rounds, seconds=partial(self.seconds, calls=calls))
        if gflop is not None:
            fastest = min(form["seconds"] for form in measured.values())
            details |= {"gflop": round(gflop, 1), "share_of": {"bfloat16": round(gflop / 1e3 / fastest / self.gemm, 3)}}
        row = make_row(case, measured, precision="bfloat16", **details)
        report(row)
        return row


def ceilings(card: Card) -> dict[str, float]:
    """Copy bandwidth, read and written, and the rate of bf16 matrix products."""
    side = 64 if card.tiny else 8192
    left, right = (torch.randn(side, side, device=card.device).bfloat16() for _ in range(2))
    source = torch.empty(side * side * 16, dtype=torch.uint8, device=card.device)
    target = torch.empty_like(source)
    medians = []
    for work in (partial(target.copy_, source), partial(torch.mm, left, right)):
        times = [card.seconds(work, BATCH) for _ in range(3 + card.rounds)][3:]
        medians.append(statistics.median(times))
    card.gemm = 2 * side**3 / medians[1] / 1e12
    found = {"copy_gb_per_s": 2 * source.numel() / medians[0] / 1e9, "bf16_tflop_per_s": card.gemm}
    print(json.dumps(found))
    return found


def attention_rows(card: Card) -> Iterator[dict]:
    """Encoder calls: a query for every token, 8 heads of 32 channels, 4 points."""
    for name, levels in (("4-scale", FOUR_SCALES), ("5-scale", FIVE_SCALES)):
        levels = [(2, 2)] if card.tiny else levels
        queries = sum(h * w for h, w in levels)
        value, *points = (tensor.to(card.device) for tensor in attention_inputs(levels, 8, 32, 4, queries))
        leaves = [tensor.requires_grad_() for tensor in (value.bfloat16(), *points)]
        upstream = torch.randn(1, queries, 256, device=card.device).bfloat16()

        def call(form: str, levels=levels, leaves=leaves) -> Tensor:
            return attention_seam.deformable_attention(leaves[0], levels, *leaves[1:], form)

        def forward(form: str, call=call) -> list[Tensor]:
            with torch.no_grad():
                return [call(form)]

        def training(form: str, call=call, leaves=leaves, upstream=upstream) -> Sequence[Tensor]:
            return torch.autograd.grad(call(form), leaves, upstream)

        for step, run in (("forward", forward), ("forward + backward", training)):
            forms = {"plain": partial(run, "grid_sample")}
            forms |= {form: partial(run, form) for form in card.forms("table_lookup", "triton")}
            goal = 4.0 if (name, step) == ("5-scale", "forward + backward") else None
            yield card.row(f"deformable attention, {name}, {step}", forms, goal=goal)


def context_forms(card: Card, shape: Sequence[int], kernels: Sequence[int]) -> tuple[list[Tensor], dict[str, Callable]]:
    """Inputs in bf16, and the forms as functions of them."""
    inputs = [x.bfloat16().requires_grad_() for x in context_inputs(shape, kernels, card.device)]
    forms = {"plain": plain_context, "channels last": partial(seam_context, "plain")}
    return inputs, forms | {form: partial(seam_context, form) for form in card.forms("triton")}


def context_rows(card: Card) -> Iterator[dict]:
    """Every stage of some networks at 800x1333."""
    for name, (channels, kernels) in list(CONTEXTS.items())[: 1 if card.tiny else None]:
        for stage, side in enumerate(MAPS[:1] if card.tiny else MAPS):
            shape = (1, 2, 2, 2) if card.tiny else (1, *side, channels * 2**stage)
            kernels = (3, 1) if card.tiny else kernels
            inputs, forms = context_forms(card, shape, kernels)
            gflop = 2 * shape[1] * shape[2] * shape[3] * sum(k * k for k in kernels) / 1e9
            for step, run, share in (("forward", context_forward, 1), ("forward + backward", context_training, 3)):
                measured = {form: partial(run, function, inputs) for form, function in forms.items()}
                case = f"focal context, {name}, stage {stage + 1}, {step}"
                yield card.row(case, measured, calls=BATCH, gflop=share * gflop)


def projection_rows(card: Card) -> Iterator[dict]:
    """Query, context and gates by one product, whose odd width misaligns them all, or the gates by a product apart."""
    for name, (channels, kernels) in list(CONTEXTS.items())[: 1 if card.tiny else None]:
        for stage, (height, width) in enumerate(MAPS[:1] if card.tiny else MAPS):
            dim = 2 if card.tiny else channels * 2**stage
            x = torch.randn(4 if card.tiny else height * width, dim, device=card.device).bfloat16()
            weight = torch.randn(2 * dim + len(kernels) + 1, dim, device=card.device).bfloat16()

            def together(x=x, weight=weight, dim=dim) -> list[Tensor]:
                query, context, gates = F.linear(x, weight).split([dim, dim, len(weight) - 2 * dim], dim=-1)
                return [query, context.contiguous(), gates]

            def apart(x=x, weight=weight, dim=dim) -> list[Tensor]:
                return [*F.linear(x, weight[: 2 * dim]).split(dim, dim=-1), F.linear(x, weight[2 * dim :])]

            yield card.row(f"projection, {name}, stage {stage + 1}", {"plain": together, "apart": apart}, calls=BATCH)


def tile_rows(card: Card) -> Iterator[dict]:
    """Other tiles than those that the Triton kernels were written with, to choose by."""
    if not card.has_triton:
        return
    from focalnet_d2.kernels import focal_context_triton as kernels_module

    shape = (1, 2, 2, 2) if card.tiny else (1, 100, 167, 384)
    inputs, forms = context_forms(card, shape, (3, 1) if card.tiny else (5, 7, 9))

    def tiled(settings: dict[str, int], run: Callable) -> Sequence[Tensor]:
        with patch.dict(vars(kernels_module), settings):
            return run(forms["triton"], inputs)

    options = [{}, {"_TILE": 1024}, {"_TILE": 4096}, {"_COLUMNS": 16}, {"_WINDOW": 2048}, {"_STEPS": 2}]
    options += [{"_PROGRAMS": 512}, {"_PROGRAMS": 2048}]
    for step, run in (("forward", context_forward), ("forward + backward", context_training)):
        measured = {str(settings): partial(tiled, settings, run) for settings in options[: 2 if card.tiny else None]}
        yield card.row(f"focal context, L, stage 2, tiles, {step}", measured, calls=BATCH)


def backbone_rows(card: Card) -> Iterator[dict]:
    """Forward of FocalNet-L and H with 4 levels."""
    size = (16, 16) if card.tiny else SIZE
    for name in ("large_fl4", "huge_fl4"):
        variant = TINY_NETWORK if card.tiny else FOCALNET_VARIANTS[name]
        with shapes_only():
            gflop = 2 * count_multiply_adds(partial(FocalNet(**variant), torch.empty(1, 3, *size))) / 1e9
        with torch.device(card.device):
            network, image = vivid(FocalNet(**variant)), torch.randn(1, 3, *size)

        def forward(network=network, image=image) -> list[Tensor]:
            with torch.no_grad(), card.autocast():
                return list(network(image).values())

        forms = {form: partial(in_form, form, forward) for form in card.forms("plain", "library", "triton")}
        if not card.tiny:
            forms |= {f"{form}, graph": graphed(forms[form]) for form in ("library", "triton")}
        yield card.row(f"FocalNet {name} forward {size[0]}x{size[1]}", forms, goal=3.0, gflop=gflop)


def step_rows(card: Card) -> Iterator[dict]:
    """Forward, backward, clipping and AdamW of DINO with FocalNet-H and 5 scales; 8 objects, learning rate 0."""
    name, size = ("dino_focalnet_mini_demo", (128, 160)) if card.tiny else ("dino_focalnet_huge", SIZE)
    recipe = load_recipe(name)
    with torch.device(card.device):
        model = instantiate(recipe.model).train()
    recipe.optimizer.model = model
    optimizer = instantiate(recipe.optimizer)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # every form meets the same weights
    batch = make_batch(size, 1, 8, model.num_classes)

    def step(form: str) -> list[Tensor]:
        torch.manual_seed(0)
        for stage in model.backbone.bottom_up.layers:
            stage.use_checkpoint = form == "plain"
        optimizer.zero_grad(set_to_none=True)
        with card.autocast():
            losses = model(batch)
        total = sum(losses.values())
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.train.clip_norm)
        optimizer.step()
        return [total.detach()]

    forms = ("plain", "library") if card.tiny else ("plain", "library", "triton")  # the interpreter would take hours
    forms = {form: partial(in_form, form, partial(step, form)) for form in forms}
    gflop = 3 * 2 * count_model(lambda: instantiate(load_recipe(name).model), size).multiply_adds / 1e9
    row = card.row(f"{name} training step {size[0]}x{size[1]}", forms, goal=3.0, gflop=gflop, goal_of_share=0.25)
    for form, run in forms.items() if not card.tiny else ():
        torch.cuda.reset_peak_memory_stats()
        run()
        row["forms"][form]["peak_bytes"] = torch.cuda.max_memory_allocated()
        print(f"  {form:<16} {row['forms'][form]['peak_bytes'] / 2**30:.1f} GiB at most")
    yield row


ROWS = {
    "attention": attention_rows,
    "context": context_rows,
    "projection": projection_rows,
    "tiles": tile_rows,
    "backbone": backbone_rows,
    "step": step_rows,
}


def main() -> None:
    """Checks, measures, prints, saves."""
    parser = make_parser(__doc__, rounds=10)
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=["ceilings", *ROWS])
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        print("no CUDA device: nothing was checked or timed", file=sys.stderr)
        raise SystemExit(2)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    card = Card(rehearsal=options.rehearse, rounds=options.rounds)
    errors = check(card.forms("grid_sample", "table_lookup", "triton"), card.forms("plain", "triton"), card.device)
    print(json.dumps(errors))
    if found := wrong(errors):
        print(f"wrong, so nothing is timed: {json.dumps(found)}", file=sys.stderr)
        raise SystemExit(1)
    described = {"card": "none: a rehearsal" if card.tiny else torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    described |= {"errors against float64": errors, "ceilings": ceilings(card)}
    rows = []
    keep = partial(save, options.json, "gpu_" + re.sub("[^A-Za-z0-9]+", "_", described["card"]), rows, **described)
    keep()
    for name in (name for name in options.rows if name in ROWS):
        for row in ROWS[name](card):
            rows.append(row)
            keep()  # a command on a borrowed card may be cut short


if __name__ == "__main__":
    main()

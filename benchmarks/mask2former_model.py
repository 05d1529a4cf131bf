"""Mask2Former with FocalNet-T on the CPU beside a plain form of it with the same weights: time and memory.

    python benchmarks/mask2former_model.py --json                              (all rows, one thread; many minutes)
    python benchmarks/mask2former_model.py --rows inference --sizes 512x512
    python benchmarks/mask2former_model.py --recipe mask2former_focalnet_mini_demo --sizes 64x96 --memory-size 64x96

The plain form is `benchmarks/plain_mask2former.py`, always in float32. The library runs as trainer and evaluation run
it, inside `fast_cpu_matmul`, and in bfloat16 under autocast. Weights are random and drop path is off. Inference is all
of the model, results included. A training step is forward, matching, losses and backward with the same random points
in both forms; compared are losses and gradients. Memory is the peak of a new process that makes one training step.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import instantiate
from detectron2.structures import BitMasks, Instances
from measuring import (
    Result,
    compare,
    count_gflop,
    in_new_process,
    make_parser,
    make_row,
    matmul_rates,
    parse_size,
    peak_memory,
    report,
    save,
)  # fmt: skip
from plain_mask2former import plain_losses, plain_results
from torch import Tensor, nn

from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.kernels.malloc import keep_freed_memory
from mask2former.model import Mask2Former

CPU = torch.device("cpu")
AMP = {"float32": None, "bfloat16": torch.bfloat16}
GOALS = {
    ("inference", (512, 512)): {"float32": 2.5, "bfloat16": 4},
    ("inference", (800, 1344)): {"float32": 3, "bfloat16": 4.5},
    ("training step", (512, 512)): {"float32": 2.5, "bfloat16": 4},
}


def same_points(count: int, num_points: int, like: Tensor) -> Tensor:
    """Random points that depend on nothing but their number."""
    generator = torch.Generator().manual_seed(count * num_points)
    return torch.rand(count, num_points, 2, generator=generator, dtype=like.dtype)


def build(recipe: str) -> Mask2Former:
    """The recipe's model with random weights; points of deformable attention lie off the texels, where it is smooth."""
    config = load_recipe(recipe).model
    config.backbone.drop_path_rate = 0.0
    torch.manual_seed(0)
    model = instantiate(config)
    for layer in model.pixel_decoder.encoder.layers:
        nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.05)
    model.criterion.draw_points = same_points
    return model


def make_inputs(size: tuple[int, int], objects: int, num_classes: int) -> list[dict]:
    """An image of noise with discs as objects."""
    height, width = size
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    places = torch.rand(objects, 3).tolist()
    masks = []
    for y, x, r in places:
        radius = (0.05 + 0.2 * r) * min(size)
        masks.append((rows - y * height) ** 2 + (columns - x * width) ** 2 < radius**2)
    instances = Instances(size)
    instances.gt_classes, instances.gt_masks = torch.randint(num_classes, (objects,)), BitMasks(torch.stack(masks))
    return [{"image": torch.randint(256, (3, *size), dtype=torch.uint8), "instances": instances}]


def plain_inference(model: Mask2Former, inputs: Sequence[dict]) -> list[Tensor]:
    """Class scores of the pixels and scores of the instances."""
    with torch.no_grad():
        (found,) = plain_results(model.eval(), inputs)
    return [found["sem_seg"], found["instances"][1]]


def library_inference(model: Mask2Former, inputs: Sequence[dict], amp: torch.dtype | None) -> list[Tensor]:
    """The same of the model itself."""
    with torch.no_grad(), fast_cpu_matmul(CPU), torch.autocast("cpu", amp, enabled=amp is not None):
        (found,) = model.eval()(inputs)
    return [found["sem_seg"], found["instances"].scores]


def plain_step(model: Mask2Former, inputs: Sequence[dict]) -> list[Result]:
    """Losses and gradients."""
    return _backward(model, plain_losses(model.train(), inputs))


def library_step(model: Mask2Former, inputs: Sequence[dict], amp: torch.dtype | None) -> list[Result]:
    """The same of the model itself."""
    with fast_cpu_matmul(CPU):
        with torch.autocast("cpu", amp, enabled=amp is not None):
            losses = model.train()(inputs)
        return _backward(model, list(losses.values()))


def _backward(model: Mask2Former, losses: list[Tensor]) -> list[Result]:
    model.zero_grad(set_to_none=True)
    sum(losses).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [torch.stack([loss.detach() for loss in losses]), gradients]


KINDS = {"inference": (plain_inference, library_inference), "training step": (plain_step, library_step)}


def measure(kind: str, size: tuple[int, int], arguments: argparse.Namespace, rates: dict[str, float]) -> list[dict]:
    """Rows of an image size, one for each precision."""
    model, rows = build(arguments.recipe), []
    inputs = make_inputs(size, 8, model.num_classes)
    plain, library = KINDS[kind]
    gflop = round(count_gflop(partial(plain, model, inputs)), 1)
    for precision in arguments.precisions:
        forms = {
            "plain": partial(plain, model, inputs),
            "library": partial(library, model, inputs, AMP[precision]),
        }
        measured = compare(forms, arguments.rounds)
        seconds = measured["library"]["seconds"]
        shares = {name: round(gflop / seconds / rate, 2) for name, rate in rates.items()}
        case = f"Mask2Former FocalNet-T {kind} {size[0]}x{size[1]}"
        goal = GOALS.get((kind, size), {}).get(precision)
        rows.append(make_row(case, measured, precision=precision, goal=goal, gflop=gflop, share_of=shares))
        report(rows[-1])
    return rows


def measure_memory(size: tuple[int, int], arguments: argparse.Namespace) -> list[dict]:
    """The row of the peaks of a training step, 20 masks, each form and precision in a process of its own."""
    names = {"plain": ["plain"]} | {f"library, {name}": ["library", name] for name in arguments.precisions}
    case = f"{size[0]}x{size[1]}"
    options = ["--recipe", arguments.recipe, "--memory-size", case, "--threads", str(arguments.threads)]
    forms = {name: in_new_process(*options, "--peak", *form) for name, form in names.items()}
    for form in list(forms.values())[1:]:
        form["share"] = round(form["bytes"] / forms["plain"]["bytes"], 3)
    case = f"Mask2Former FocalNet-T training step {case}, peak memory"
    print(case)
    for name, form in forms.items():
        print(f"  {name:<18} {form['bytes'] / 1e9:.2f} GB  {form.get('share', '')}", flush=True)
    return [make_row(case, forms, goal=0.6)]


def print_peak(form: str, precision: str, size: tuple[int, int], recipe: str) -> None:
    """Makes one training step and prints the peak, for `measure_memory`."""
    model = build(recipe)
    inputs = make_inputs(size, 20, model.num_classes)
    if form == "plain":
        plain_step(model, inputs)
    else:
        keep_freed_memory()  # as a run does
        library_step(model, inputs, AMP[precision])
    print(json.dumps({"bytes": peak_memory()}))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, rounds=1)
    parser.add_argument("--recipe", default="mask2former_focalnet_tiny_lrf_coco_panoptic")
    parser.add_argument("--rows", nargs="+", default=[*KINDS, "memory"], choices=[*KINDS, "memory"])
    parser.add_argument("--precisions", nargs="+", default=list(AMP), choices=list(AMP))
    parser.add_argument("--sizes", nargs="+", type=parse_size, metavar="HxW", help="default: those that have goals")
    parser.add_argument("--memory-size", type=parse_size, default=(1024, 1024), metavar="HxW")
    parser.add_argument("--peak", nargs="+", metavar=("FORM", "PRECISION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measures, prints, saves."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        form, precision = (*arguments.peak, "float32")[:2]
        print_peak(form, precision, arguments.memory_size, arguments.recipe)
        return
    rows, rates = [], matmul_rates()
    for kind in arguments.rows:
        if kind == "memory":
            rows += measure_memory(arguments.memory_size, arguments)
            continue
        for size in arguments.sizes or [row[1] for row in GOALS if row[0] == kind]:
            rows += measure(kind, size, arguments, rates)
    save(arguments.json, "mask2former", rows, gflops=rates)


if __name__ == "__main__":
    main()

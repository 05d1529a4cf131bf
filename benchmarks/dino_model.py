"""DINO with FocalNet-T and 4 scales on the CPU beside a plain form of it, with the same weights.

    python benchmarks/dino_model.py --json                       (all rows; some minutes)
    python benchmarks/dino_model.py --cases inference --sizes 480x640 --precisions bfloat16
    python benchmarks/dino_model.py --recipe dino_focalnet_mini_coco --sizes 96x128 --rounds 1        (smoke run)

The plain form (`plain_dino.py`) is float32 in all rows. The library's runs as trainer and evaluation run it: inside
`fast_cpu_matmul`, and with bfloat16 by autocast. Inference is from image to detections; a training step is forward,
matching, losses and backward, of one image with 8 objects. Weights are random; sampling offsets are moved from texel
centres, where a fresh model has them and rounding decides. Both forms go on with the same tokens after the encoder.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from detectron2.config import instantiate
from measuring import Result, compare, count_gflop, make_parser, make_row, matmul_rates, parse_size, report, save
from plain_dino import PlainDINO
from torch import Tensor
from training_step import make_batch

from dino.model import DINO
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from focalnet_d2.set_prediction.targets import prepare_targets

RECIPE = "dino_focalnet_tiny_lrf_4scale_12ep_detrex"
GOALS = {"inference": {"float32": 3.0, "bfloat16": 5.0}, "training step": {"float32": 3.0, "bfloat16": 4.5}}
SIZES = {"inference": [(480, 640), (800, 1333)], "training step": [(480, 640)]}
PEAK = {"float32": "float32, oneDNN", "bfloat16": "bfloat16"}
OBJECTS = 8


def make_model(recipe: str) -> DINO:
    """Random weights; points away from texel centres; no dropped paths."""
    settings = load_recipe(recipe).model
    settings.backbone.bottom_up.drop_path_rate = 0.0
    model = instantiate(settings)
    for layer in model.modules():
        if isinstance(layer, MultiScaleDeformableAttention):
            layer.sampling_offsets.bias.data += torch.randn_like(layer.sampling_offsets.bias)
    return model


def as_run(precision: str, function: Callable[[], list[Result]]) -> list[Result]:
    """The library's form of a row."""
    with fast_cpu_matmul("cpu"), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return function()


def library_inference(model: DINO, batch: list[dict], tokens: list[Tensor] | None = None) -> list[Tensor]:
    """Class logits and boxes; detections are made too. The tokens that became queries are added to `tokens`."""
    with torch.no_grad():
        images, padding_mask, sizes = model.preprocess(batch)
        outputs = model.predict(images, padding_mask)
        model.postprocess(outputs, sizes)
    if tokens is not None:
        tokens.append(outputs["enc_outputs"]["topk_indices"])
    return [outputs["pred_logits"].float(), outputs["pred_boxes"].float()]


def plain_inference(model: DINO, batch: list[dict], tokens: Tensor) -> list[Tensor]:
    """The same by the plain form."""
    with torch.no_grad():
        images, padding_mask, sizes = model.preprocess(batch)
        outputs = PlainDINO(model).predict(images, padding_mask, tokens, None)["layers"][-1]
        model.postprocess(outputs, sizes)
    return [outputs["pred_logits"], outputs["pred_boxes"]]


def library_step(model: DINO, batch: list[dict], tokens: list[Tensor] | None = None) -> list[Result]:
    """Sum of the losses, and all gradients in one; `tokens` as above."""
    torch.manual_seed(1)  # noise
    images, padding_mask, _ = model.preprocess(batch)
    targets = prepare_targets([image["instances"] for image in batch], model.device, model.num_classes)
    denoising = model.denoising(targets)
    outputs = model.predict(images, padding_mask, denoising)
    if tokens is not None:
        tokens.append(outputs["enc_outputs"]["topk_indices"])
    loss = sum(model.criterion(outputs, targets, denoising).values())
    with torch.autocast("cpu", enabled=False):
        return gradients(model, loss)


def plain_step(model: DINO, batch: list[dict], tokens: Tensor) -> list[Result]:
    """The same by the plain form."""
    torch.manual_seed(1)
    plain = PlainDINO(model)
    images, padding_mask, _ = model.preprocess(batch)
    targets = prepare_targets([image["instances"] for image in batch], model.device, model.num_classes)
    denoising = model.denoising(targets)
    outputs = plain.predict(images, padding_mask, tokens, denoising)
    return gradients(model, sum(plain.losses(outputs, targets, denoising)))


def gradients(model: DINO, loss: Tensor) -> list[Result]:
    """The loss, and what its backward pass leaves in the parameters."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return [loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]]


STEPS = {"inference": (plain_inference, library_inference), "training step": (plain_step, library_step)}


def measure(model: DINO, case: str, size: tuple[int, int], precision: str, options: argparse.Namespace) -> dict:
    """One row."""
    plain, library = STEPS[case]
    model.train(case == "training step")
    torch.manual_seed(0)
    batch = make_batch(size, 1, OBJECTS, model.num_classes)
    seen: list[Tensor] = []
    as_run(precision, partial(library, model, batch, seen))
    forms = {
        "plain": partial(plain, model, batch, seen[0]),
        "library": partial(as_run, precision, partial(library, model, batch)),
    }
    gflop = count_gflop(partial(plain_inference, model, batch, seen[0])) * (3 if case == "training step" else 1)
    measured = compare(forms, options.rounds)
    share = gflop / measured["library"]["seconds"] / options.rates[PEAK[precision]]
    details = {"precision": precision, "goal": GOALS[case][precision], "gflop": round(gflop, 1)}
    name = f"DINO FocalNet-T {case} {size[0]}x{size[1]}"
    return make_row(name, measured, **details, share_of={PEAK[precision]: round(share, 2)})


def main() -> None:
    """Measures, prints, saves."""
    parser = make_parser(__doc__, rounds=3)
    parser.add_argument("--cases", nargs="+", choices=list(STEPS), default=list(STEPS), metavar="CASE")
    parser.add_argument("--sizes", nargs="+", type=parse_size, metavar="HxW", help="default: those of the goals")
    parser.add_argument("--precisions", nargs="+", choices=list(PEAK), default=list(PEAK))
    parser.add_argument("--recipe", default=RECIPE)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.rates = matmul_rates()
    torch.manual_seed(0)
    model, rows = make_model(options.recipe), []
    for case in options.cases:
        for size in options.sizes or SIZES[case]:
            for precision in options.precisions:
                rows.append(measure(model, case, size, precision, options))
                report(rows[-1])
    save(options.json, "dino_model", rows, recipe=options.recipe, gflops=options.rates)


if __name__ == "__main__":
    main()

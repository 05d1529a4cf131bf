"""DINO beside its reference implementation, with the same weights: time, and peak memory of a training step.

Inference is from image to detections; a training step is forward, matching, losses and backward, of one image with 8
objects. Weights are random; sampling offsets are moved from texel centers, where a fresh model has them and rounding
decides. Both go on with the same tokens after the encoder.
"""

from functools import cache, partial

import torch
from detectron2.config import instantiate
from torch import Tensor

from benchmarks.builders.inputs import images_with_boxes
from benchmarks.measuring import Result, count_gflop, peak_memory, run_as_library
from benchmarks.work import Processes, Timed
from dino.model import DINO
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels.malloc import keep_freed_memory
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from tests.reference.dino import ReferenceDINO

OBJECTS, OBJECTS_OF_MEMORY = 8, 20


@cache
def make_model(recipe: str) -> DINO:
    """Random weights; points away from texel centers; no dropped paths."""
    torch.manual_seed(0)
    settings = load_recipe(recipe).model
    settings.backbone.bottom_up.drop_path_rate = 0.0
    model = instantiate(settings)
    for layer in model.modules():
        if isinstance(layer, MultiScaleDeformableAttention):
            layer.sampling_offsets.bias.data += torch.randn_like(layer.sampling_offsets.bias)
    return model


def library_inference(model: DINO, batch: list[dict], tokens: list[Tensor]) -> list[Result]:
    """Class logits and boxes; detections are made too. The tokens that became queries are put into `tokens`."""
    with torch.no_grad():
        images = model.preprocess(batch)
        outputs = model.predict(images)
        model.postprocess(outputs, images.sizes)
    tokens[:] = [outputs["enc_outputs"]["topk_indices"]]
    return [outputs["pred_logits"].float(), outputs["pred_boxes"].float()]


def reference_inference(model: DINO, batch: list[dict], tokens: list[Tensor]) -> list[Result]:
    """The same by the reference implementation, for these tokens."""
    with torch.no_grad():
        images = model.preprocess(batch)
        layers = ReferenceDINO(model).predict(images.tensor, images.padding_mask, tokens[0], None)["layers"]
        model.postprocess(layers[-1], images.sizes)
    return [layers[-1]["pred_logits"], layers[-1]["pred_boxes"]]


def library_step(model: DINO, batch: list[dict], tokens: list[Tensor]) -> list[Result]:
    """Sum of the losses, and all gradients; `tokens` as above."""
    torch.manual_seed(1)  # noise
    images = model.preprocess(batch)
    targets = model.prepare_targets(batch, images)
    outputs = model.predict(images, targets)
    tokens[:] = [outputs["enc_outputs"]["topk_indices"]]
    loss = sum(model.losses(outputs, targets).values())
    with torch.autocast("cpu", enabled=False):
        return gradients(model, loss)


def reference_step(model: DINO, batch: list[dict], tokens: list[Tensor]) -> list[Result]:
    """The same by the reference implementation."""
    torch.manual_seed(1)
    reference, images = ReferenceDINO(model), model.preprocess(batch)
    targets = model.prepare_targets(batch, images)
    noise = model.denoising(targets)
    outputs = reference.predict(images.tensor, images.padding_mask, tokens[0], noise)
    return gradients(model, sum(reference.losses(outputs, targets, noise)))


def gradients(model: DINO, loss: Tensor) -> list[Result]:
    """The loss, and what its backward pass leaves in the parameters."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return [loss.detach(), [p.grad for p in model.parameters() if p.grad is not None]]


def build(recipe: str, *, training: bool, size: tuple[int, int], precision: str) -> Timed:
    """One image of a recipe's model."""
    model = make_model(recipe).train(training)
    reference, library = (reference_step, library_step) if training else (reference_inference, library_inference)
    torch.manual_seed(0)
    batch, tokens = images_with_boxes(size, 1, OBJECTS, model.num_classes), []
    compute = partial(run_as_library, precision, partial(library, model, batch, tokens))
    compute()
    gflop = partial(count_gflop, partial(reference_inference, model, batch, tokens), 3 if training else 1)
    implementations = {"reference": partial(reference, model, batch, tokens), "library": compute}
    return Timed(implementations, gflop=gflop, about={"recipe": recipe})


def build_memory(recipe: str, *, size: tuple[int, int]) -> Processes:
    """Peaks of processes that make one training step."""
    names = {"reference": None, "library, float32": "float32", "library, bfloat16": "bfloat16"}
    calls = {name: (peak_of_step, recipe, size, precision) for name, precision in names.items()}
    return Processes(calls, repeat=False)


def peak_of_step(recipe: str, size: tuple[int, int], precision: str | None) -> dict[str, int]:
    """`bytes` that this process took at most for one step, of the reference implementation without a precision.

    All keep freed memory, as a run does. The reference goes on with the first tokens in place of the best ones.
    """
    keep_freed_memory()
    model = make_model(recipe).train()
    batch = images_with_boxes(size, 1, OBJECTS_OF_MEMORY, model.num_classes)
    if precision is None:
        reference_step(model, batch, [torch.arange(model.query_selection.num_queries)[None]])
    else:
        run_as_library(precision, partial(library_step, model, batch, []))
    return {"bytes": peak_memory()}

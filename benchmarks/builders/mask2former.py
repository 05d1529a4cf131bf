"""Mask2Former beside its reference implementation, with the same weights: time, and peak memory of a training step.

Weights are random and drop path is off. Inference is all of the model, results included. A training step is forward,
matching, losses and backward, for which both draw the same random points; losses and gradients are compared.
"""

from collections.abc import Sequence
from functools import partial

import torch
from detectron2.config import instantiate
from torch import Tensor, nn

from benchmarks.builders.inputs import image_with_discs
from benchmarks.measuring import Result, as_library_runs, count_gflop, peak_memory
from benchmarks.work import Processes, Timed
from focalnet_d2.config.lazy import load_recipe
from focalnet_d2.kernels.cpu_matmul import fast_cpu_matmul
from focalnet_d2.kernels.malloc import keep_freed_memory
from mask2former.model import Mask2Former
from tests.reference.mask2former import reference_losses, reference_results, same_points

OBJECTS, OBJECTS_OF_MEMORY = 8, 20


def make_model(recipe: str) -> Mask2Former:
    """The recipe's model with random weights; points of deformable attention lie off the texels, where it is smooth."""
    config = load_recipe(recipe).model
    config.backbone.drop_path_rate = 0.0
    torch.manual_seed(0)
    model = instantiate(config)
    for layer in model.pixel_decoder.encoder.layers:
        nn.init.normal_(layer.self_attn.sampling_offsets.weight, std=0.05)
    model.criterion.draw_points = same_points
    return model


def reference_inference(model: Mask2Former, inputs: Sequence[dict]) -> list[Tensor]:
    """Class scores of the pixels and scores of the instances."""
    with torch.no_grad():
        (found,) = reference_results(model.eval(), inputs)
    return [found["sem_seg"], found["instances"][1]]


def library_inference(model: Mask2Former, inputs: Sequence[dict], precision: str) -> list[Tensor]:
    """The same of the model itself."""
    with torch.no_grad(), as_library_runs(precision):
        (found,) = model.eval()(inputs)
    return [found["sem_seg"], found["instances"].scores]


def reference_step(model: Mask2Former, inputs: Sequence[dict]) -> list[Result]:
    """Losses and gradients."""
    return _backward(model, reference_losses(model.train(), inputs))


def library_step(model: Mask2Former, inputs: Sequence[dict], precision: str) -> list[Result]:
    """The same of the model itself."""
    with fast_cpu_matmul("cpu"):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            losses = model.train()(inputs)
        return _backward(model, list(losses.values()))


def _backward(model: Mask2Former, losses: list[Tensor]) -> list[Result]:
    model.zero_grad(set_to_none=True)
    sum(losses).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [torch.stack([loss.detach() for loss in losses]), gradients]


def build(recipe: str, *, training: bool, size: tuple[int, int], precision: str) -> Timed:
    """One image of a recipe's model."""
    model = make_model(recipe)
    inputs = image_with_discs(size, OBJECTS, model.num_classes)
    reference, library = (reference_step, library_step) if training else (reference_inference, library_inference)
    implementations = {
        "reference": partial(reference, model, inputs),
        "library": partial(library, model, inputs, precision),
    }
    return Timed(implementations, gflop=partial(count_gflop, implementations["reference"]))


def build_memory(recipe: str, *, size: tuple[int, int]) -> Processes:
    """Peaks of processes that make one training step."""
    names = {"reference": None, "library, float32": "float32", "library, bfloat16": "bfloat16"}
    calls = {name: (peak_of_step, recipe, size, precision) for name, precision in names.items()}
    return Processes(calls, repeat=False)


def peak_of_step(recipe: str, size: tuple[int, int], precision: str | None) -> dict[str, int]:
    """`bytes` that this process took at most for one step, of the reference implementation without a precision.

    All keep freed memory, as a run does.
    """
    keep_freed_memory()
    model = make_model(recipe)
    inputs = image_with_discs(size, OBJECTS_OF_MEMORY, model.num_classes)
    if precision is None:
        reference_step(model, inputs)
    else:
        library_step(model, inputs, precision)
    return {"bytes": peak_memory()}

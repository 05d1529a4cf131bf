"""How far bf16 autocast is from float32 on the golden cases: weights, images, noise and points are the recorded ones.

An error is |bf16 - float32| / |float32| in the Euclidean norm, of the worst tensor of its kind; that of the gradients
is of all together, and that of boxes the largest in shares of the image's sides. DINO selects the recorded tokens in
both runs, otherwise its queries could not be compared; `same_queries` says which share bf16 would have selected, too.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from focalnet_d2.engine.precision import autocast
from mask2former.transformer_decoder import predict_masks
from tests.golden import dino_cases, mask2former_cases, test_golden_focalnet
from tests.golden.cases import absolute_error, arrays, device, l2_error, normal, tensor
from tests.golden.loading import load_state

Kinds = dict[str, Sequence[Tensor]]


def errors(run: Callable[[torch.dtype | None], Kinds]) -> dict[str, float]:
    """The error of every kind of tensors that `run(autocast dtype)` gives."""
    full, low = run(None), run(torch.bfloat16)
    found = {}
    for kind, expected in full.items():
        error = absolute_error if kind == "boxes" else l2_error
        found[kind] = max(error(ours, theirs) for ours, theirs in zip(low[kind], expected, strict=True))
    return found


@contextmanager
def features_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """The maps that the backbone gives inside."""
    seen = []
    with model.backbone.register_forward_hook(lambda *call: seen.extend(call[-1].values())):
        yield seen


def gradients_of(losses: dict[str, Tensor], model: nn.Module) -> Kinds:
    """The losses, and the gradient of their sum as one vector."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    grads = torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True)
    vector = torch.cat([grad.flatten() for grad in grads if grad is not None])
    return {"losses": [loss.detach() for loss in losses.values()], "gradients": [vector]}


def focalnet_errors(case: dict) -> dict[str, float]:
    """Features, and the gradients of their sum of squares."""
    model = test_golden_focalnet.build(case["config"]).to(device())
    load_state(model, test_golden_focalnet.official_state(case["manifest"]))
    images = tensor(normal(case["input"]["seed"], case["input"]["shape"])).to(device())

    def run(dtype: torch.dtype | None) -> Kinds:
        with autocast(device(), dtype):
            outputs = model(images)
        losses = {"loss": test_golden_focalnet.sum_of_squares({k: v.float() for k, v in outputs.items()})}
        return {
            "features": [v.detach() for v in outputs.values()],
            "gradients": gradients_of(losses, model)["gradients"],
        }

    return errors(run)


def dino_errors(case: dict) -> dict[str, float]:
    """Features, logits and boxes of the evaluation."""
    model = dino_cases.loaded_model(case["name"], torch.float32).eval()
    order = arrays(case["kind"], f"{case['name']}_eval.npz")["topk_idx"]
    inputs = dino_cases.mapper_dicts(case, case.get("eval", case))

    @torch.no_grad()
    def predict(dtype: torch.dtype | None) -> tuple[dict, list[Tensor]]:
        seen = []
        with (
            autocast(device(), dtype),
            model.backbone.register_forward_hook(lambda *call: seen.extend(call[-1].values())),
        ):
            images, padding_mask, _ = model.preprocess(inputs)
            return model.run_network(images, padding_mask), seen

    def run(dtype: torch.dtype | None) -> Kinds:
        with dino_cases.break_near_ties_as(model, order, limit=math.inf):
            outputs, features = predict(dtype)
        return {"features": features, "logits": [outputs["pred_logits"]], "boxes": [outputs["pred_boxes"]]}

    chosen = predict(torch.bfloat16)[0]["enc_outputs"]["topk_indices"].cpu()
    same = (chosen[:, :, None] == tensor(order)[:, None]).any(-1).float().mean()
    return {**errors(run), "same_queries": float(same)}


def dino_training_errors(case: dict) -> dict[str, float]:
    """Losses and gradients of the step with the recorded noise."""
    model = dino_cases.loaded_model(case["name"], torch.float32).train()
    order = arrays(case["kind"], f"{case['name']}_train.npz")["topk_idx"]
    targets = dino_cases.recorded_targets(case, torch.float32)
    noise = dino_cases.recorded_noise(case, model.denoising.label_noise_ratio, torch.float32)
    images, padding_mask, _ = model.preprocess(dino_cases.mapper_dicts(case, case["train"]))

    def run(dtype: torch.dtype | None) -> Kinds:
        with autocast(device(), dtype), dino_cases.break_near_ties_as(model, order, limit=math.inf):
            denoising = model.denoising(targets, noise)
            losses = model.criterion(model.run_network(images, padding_mask, denoising), targets, denoising)
        return gradients_of(losses, model)

    return errors(run)


def mask2former_errors(case: dict) -> dict[str, float]:
    """Features, and logits of classes and masks."""
    model = mask2former_cases.loaded_model(case["name"], torch.float32).eval()
    images = [{"image": one["image"]} for one in mask2former_cases.mapper_dicts(case)]

    @torch.no_grad()
    def run(dtype: torch.dtype | None) -> Kinds:
        seen = []
        with (
            autocast(device(), dtype),
            model.backbone.register_forward_hook(lambda *call: seen.extend(call[-1].values())),
        ):
            outputs = model.predict(model.preprocess(images))
            masks = predict_masks(outputs["mask_embed"], outputs["mask_features"])
        return {"features": seen, "logits": [outputs["pred_logits"]], "masks": [masks]}

    return errors(run)


def mask2former_training_errors(case: dict) -> dict[str, float]:
    """Losses and gradients of the step with the recorded points."""
    model = mask2former_cases.loaded_model(case["name"], torch.float32).train()
    inputs = mask2former_cases.mapper_dicts(case, targets=True)
    draw, model.criterion.draw_points = model.criterion.draw_points, mask2former_cases.recorded_points(case)

    def run(dtype: torch.dtype | None) -> Kinds:
        with autocast(device(), dtype):
            losses = model(inputs)
        return gradients_of(losses, model)

    try:
        return errors(run)
    finally:
        model.criterion.draw_points = draw
        model.eval()

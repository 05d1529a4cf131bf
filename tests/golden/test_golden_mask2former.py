"""Mask2Former against the official code: network, matching, losses, gradients, and results through the whole model."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
from focalnet_d2.layers.deformable_attention import MultiScaleDeformableAttention
from mask2former.transformer_decoder import predict_masks
from tests.golden.cases import assert_within, device, normal, relative_error, tensor
from tests.golden.mask2former_cases import (  # fmt: skip
    inference_of,
    loaded_model,
    mapper_dicts,
    mask2former_cases,
    official_names_of_parameters,
    official_state,
    recorded_points,
    stored,
)
from tests.golden.segmentation_results import TASKS, assert_results_equal

FLOAT64_IMPLEMENTATIONS = [one.name for one in DEFORMABLE_ATTENTION.available("cpu", torch.float64)]

TOLERANCE = {torch.float64: 2e-7, torch.float32: 1e-5}
GRADIENT_TOLERANCE = {torch.float64: 2e-7, torch.float32: 2e-3}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=("float64", "float32"))


def cases(kind: str):
    return pytest.mark.parametrize("case", mask2former_cases(kind), ids=lambda case: case["name"])


def prediction_pairs(predictions, mask_features, found: dict) -> dict:
    """{name: (ours, golden)} of everything that is stored of the predictions."""
    pairs = {}
    for index, prediction in enumerate(predictions):
        prefix = "" if index == len(predictions) - 1 else f"aux{index}/"
        masks = predict_masks(prediction["mask_embed"], mask_features)
        ours = {
            "pred_logits": prediction["pred_logits"],
            "pred_masks": masks,
            "pred_masks_every4": masks[:, ::4],
        }
        pairs |= {
            prefix + name: (value, found[prefix + name]) for name, value in ours.items() if prefix + name in found
        }
    return pairs


@cases("head")
@DTYPES
def test_head_on_given_features(case, dtype):
    about, config, found = case["input"], case["config"], stored(case)
    features = {
        f"res{k + 2}": tensor(
            normal(about["seed"] + k, (about["batch"], config["backbone"]["embed_dim"] * 2**k, *size)), dtype
        ).to(device())
        for k, size in enumerate(about["feature_sizes"])
    }
    model = loaded_model(case["name"], dtype)
    with torch.no_grad():
        mask_features, maps = model.pixel_decoder(features)
        predictions = model.decoder(mask_features, maps)
    pairs = {"mask_features": (mask_features, found["mask_features"])}
    pairs |= {f"multi_scale_{i}": (level, found[f"multi_scale_{i}"]) for i, level in enumerate(maps)}
    pairs |= prediction_pairs(predictions, mask_features, found)
    assert len(pairs) == 4 + 2 * len(predictions)
    assert_within(relative_error, pairs, TOLERANCE[dtype])


@cases("full")
@DTYPES
def test_network_on_images(case, dtype):
    model, found, seen = loaded_model(case["name"], dtype), stored(case), {}
    with torch.no_grad(), model.backbone.register_forward_hook(lambda *call: seen.update(call[-1])):
        images = [{"image": one["image"]} for one in mapper_dicts(case)]
        outputs = model.predict(model.preprocess(images))
    predictions, mask_features = [*outputs["aux_outputs"], outputs], outputs["mask_features"]
    pairs = {name: (value, found[name]) for name, value in seen.items() if name in found}
    pairs |= prediction_pairs(predictions, mask_features, found)
    assert_within(relative_error, pairs, TOLERANCE[dtype])


@cases("full")
@DTYPES
@pytest.mark.parametrize("tag", TASKS)
def test_results_of_the_whole_model(case, dtype, tag):
    model = loaded_model(case["name"], dtype)
    abouts = [about for about in case["results"] if about["tag"] == tag]
    inference, model.inference = model.inference, inference_of(case, TASKS[tag])
    try:
        with torch.no_grad():
            results = model(mapper_dicts(case))
    finally:
        model.inference = inference
    exact = dtype is torch.float64
    for about in abouts:
        image = about["image"]
        assert_results_equal(results[image], stored(case), f"{tag}{image}", about, TOLERANCE[dtype], exact)
    assert [about["image"] for about in abouts] == list(range(len(results)))


@cases("ms_deform_attn")
@pytest.mark.parametrize("implementation", FLOAT64_IMPLEMENTATIONS)
def test_deformable_attention_alone(case, implementation):
    """In float64, through every implementation of the sum."""
    found = {name: tensor(value).to(device()) for name, value in stored(case).items()}
    shapes = [tuple(size) for size in case["spatial_shapes"]]
    layer = MultiScaleDeformableAttention(
        case["d_model"], num_levels=len(shapes), num_heads=case["n_heads"], num_points=case["n_points"]
    )
    layer.load_state_dict(official_state(case))
    layer.to(device(), torch.float64)
    inputs = {name: found[name].double().requires_grad_() for name in ("query", "reference_points", "input_flatten")}
    padding = found["padding_mask"].bool() if "padding_mask" in found else None
    with DEFORMABLE_ATTENTION.only(implementation):
        output = layer(*inputs.values(), shapes, padding)
    (output * found["cotangent"]).sum().backward()
    gradients = {name: value.grad for name, value in {**inputs, **dict(layer.named_parameters())}.items()}
    pairs = {"output": (output, found["output"])}
    pairs |= {name: (value, found[f"grad/{name}"]) for name, value in gradients.items()}
    assert_within(relative_error, pairs, 1e-12)


@contextmanager
def recorded_run(case: dict, dtype: torch.dtype):
    """The model in training mode with the recorded points, and what its criterion sees and chooses."""
    model, seen = loaded_model(case["name"], dtype), {"cost": [], "pairs": []}
    criterion, matcher = model.criterion, model.criterion.matcher
    cost, draw = matcher.cost, criterion.draw_points

    def kept_cost(*arguments):
        seen["cost"].append(cost(*arguments))
        return seen["cost"][-1]

    model.train()
    model.zero_grad()
    criterion.draw_points, matcher.cost = recorded_points(case), kept_cost
    handle = matcher.register_forward_hook(lambda *call: seen["pairs"].extend(call[-1]))
    try:
        yield model, seen
    finally:
        criterion.draw_points = draw
        del matcher.cost
        handle.remove()
        model.eval()


@cases("loss")
@DTYPES
def test_matching_losses_and_gradients(case, dtype):
    found = stored(case)
    with recorded_run(case, dtype) as (model, seen):
        losses = model(mapper_dicts(case, targets=True))
        total = sum(losses.values())
        total.backward()
    check_matching(case, found, seen, dtype)
    golden = {name.replace("_ce", "_class"): value for name, value in case["losses_weighted"].items()}
    assert set(losses) == set(golden)
    pairs = {name: (losses[name], golden[name]) for name in golden} | {"total": (total, case["total_weighted"])}
    assert_within(relative_error, pairs, TOLERANCE[dtype])
    ours = official_names_of_parameters(case, model)
    parameters = dict(model.named_parameters())
    stored_ones = [name for name in case.get("grads", []) if f"grad/{name}" in found]
    gradients = {name: (parameters[ours[name]].grad, found[f"grad/{name}"]) for name in stored_ones}
    if gradients:  # a case without them is compared by its losses
        assert_within(relative_error, gradients, GRADIENT_TOLERANCE[dtype])


def check_matching(case: dict, found: dict, seen: dict, dtype: torch.dtype) -> None:
    """Costs and assignments: the criterion takes image after image, and for each all predictions, the last one last."""
    layers = case["config"]["decoder_layers"]
    names = [*(f"aux{layer}" for layer in range(layers)), "final"]
    places = [f"match/{name}/image{image}" for image in range(len(case["images"])) for name in names]
    assert len(seen["cost"]) == len(seen["pairs"]) == len(places)
    costs = {}
    for place, cost, (queries, targets) in zip(places, seen["cost"], seen["pairs"], strict=True):
        np.testing.assert_array_equal(queries, found[f"{place}/query"])
        np.testing.assert_array_equal(targets, found[f"{place}/target"])
        if cost.numel():
            costs[place] = (cost, found[f"{place}/cost"])
    assert_within(relative_error, costs, TOLERANCE[dtype])

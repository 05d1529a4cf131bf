"""The library's models compute what the reference implementations compute: outputs, losses and gradients in float64."""

import pytest
import torch

from focalnet_d2.backbone.focalnet import FocalNet
from tests.dino.building import make_input, tiny_dino
from tests.mask2former.building import build_mask2former
from tests.mask2former.test_model import mapper_dict

from .dino import ReferenceDINO
from .focalnet import reference_focalnet
from .mask2former import reference_losses, reference_results, same_points

FOCALNET = dict(embed_dim=8, depths=(1, 1, 2, 1), focal_levels=(2, 3, 2, 1), focal_windows=(3, 3, 5, 3))


def draw_weights(model: torch.nn.Module) -> torch.nn.Module:
    """The model in float64 with random numbers for every parameter that starts as a constant."""
    for parameter in model.double().parameters():
        if (parameter == parameter.flatten()[0]).all():
            torch.nn.init.normal_(parameter, mean=parameter.flatten()[0].item(), std=0.1)
    return model


def backward(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same(found, expected, tolerance: float = 1e-6):  # positions are float32 in both, as published
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("normalize", [False, True])
def test_focalnet(normalize):
    network = draw_weights(FocalNet(**FOCALNET, normalize_modulator=normalize))
    image = torch.randn(2, 3, 32, 64, dtype=torch.float64)
    found, expected = network(image), reference_focalnet(network, image)
    assert_same(found, expected, 1e-10)
    wanted = {name: torch.randn_like(value) for name, value in found.items()}
    gradients = [
        backward(network, sum((values[name] * wanted[name]).sum() for name in wanted)) for values in (found, expected)
    ]
    assert_same(*gradients)


def test_inference_of_dino_with_padding():
    model = draw_weights(tiny_dino()).eval()
    images = model.preprocess([make_input(64, 90), make_input(50, 70, seed=1)])
    found = model.predict(images)
    tokens = found["enc_outputs"]["topk_indices"]
    expected = ReferenceDINO(model).predict(images.tensor, images.padding_mask, tokens, None)
    assert_same(found["pred_logits"], expected["layers"][-1]["pred_logits"])
    assert_same(found["pred_boxes"], expected["layers"][-1]["pred_boxes"])
    for name in ("pred_logits", "pred_boxes"):
        assert_same(found["enc_outputs"][name], expected["proposals"][name])


def test_training_of_dino():
    model, batch = draw_weights(tiny_dino()).train(), [make_input(64, 90), make_input(64, 90, seed=1)]
    images = model.preprocess(batch)
    targets = model.prepare_targets(batch, images)
    torch.manual_seed(1)
    outputs = model.predict(images, targets)
    found = sum(model.losses(outputs, targets).values())
    torch.manual_seed(1)
    reference, noise = ReferenceDINO(model), model.denoising(targets)
    tokens = outputs["enc_outputs"]["topk_indices"]
    layers = reference.predict(images.tensor, images.padding_mask, tokens, noise)
    expected = sum(reference.losses(layers, targets, noise))
    assert_same(found, expected)
    gradients = [backward(model, loss) for loss in (found, expected)]
    assert_same(*gradients)


def test_inference_of_mask2former():
    model, image = draw_weights(build_mask2former()).eval(), mapper_dict(64, 96)
    with torch.no_grad():
        [found], [expected] = model([image]), reference_results(model, [image])
    assert_same(found["sem_seg"], expected["sem_seg"])
    assert torch.equal(found["panoptic_seg"][0], expected["panoptic_seg"][0])
    for segment, other in zip(found["panoptic_seg"][1], expected["panoptic_seg"][1], strict=True):
        assert segment == {**other, "score": pytest.approx(other["score"])}
    masks, scores, classes = expected["instances"]
    assert torch.equal(found["instances"].pred_masks, masks.bool())
    assert_same(found["instances"].scores, scores)
    assert torch.equal(found["instances"].pred_classes, classes)


def test_training_of_mask2former():
    model, batch = draw_weights(build_mask2former()).train(), [mapper_dict(64, 96), mapper_dict(64, 96, (1,))]
    model.criterion.draw_points = same_points
    found, expected = list(model(batch).values()), reference_losses(model, batch)
    assert_same(torch.stack(sorted(found)), torch.stack(sorted(expected)))
    gradients = [backward(model, sum(losses)) for losses in (found, expected)]
    assert_same(*gradients)

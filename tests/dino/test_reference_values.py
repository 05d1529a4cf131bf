"""DINO against values measured with the official code: evaluation, and a training step without noise."""

import pytest
import torch

from focalnet_d2.modeling.base import ImageSizes
from focalnet_d2.set_prediction.targets import Targets
from tests.dino.building import StubPyramid, build_dino
from tests.golden.dino_cases import official_names_of_parameters
from tests.golden.reference import assert_summary, reference_input, reference_value

CASE = {
    "layout": "focalnet_dino",
    "backbone": {
        "embed_dim": 16,
        "depths": (1, 1, 1),
        "out_indices": (0, 1, 2),
        "focal_levels": (2, 2, 2),
        "focal_windows": (3, 3, 3),
        "use_conv_embed": False,
        "use_postln_in_modulation": False,
        "use_layerscale": False,
    },
    "num_classes": 5,
    "num_queries": 20,
    "num_feature_levels": 4,
    "enc_layers": 6,
    "dec_layers": 6,
}
LOSSES = {
    "loss_class": 7.158671,
    "loss_bbox": 1.747929,
    "loss_giou": 1.170396,
    "loss_class_dn": 1.999643,
    "loss_bbox_dn": 0.57633,
    "loss_giou_dn": 1.096042,
    "loss_class_dn_0": 3.191368,
    "loss_bbox_dn_0": 0.098524,
    "loss_giou_dn_0": 0.365403,
    "loss_class_enc": 29.050924,
    "loss_bbox_enc": 1.780842,
    "loss_giou_enc": 1.119539,
    "loss_class_0": 9.95964,
    "loss_bbox_0": 1.776244,
    "loss_giou_0": 1.149407,
}
WEIGHTS = {"class": 1.0, "bbox": 5.0, "giou": 2.0}


@pytest.fixture(scope="module")
def model():
    maps = {
        "res3": reference_input(2, 16, 12, 16, offset=1),
        "res4": reference_input(2, 32, 6, 8, offset=2),
        "res5": reference_input(2, 64, 3, 4, offset=3),
    }
    stub = StubPyramid(maps, {"res3": 8, "res4": 16, "res5": 32})
    noise_free = dict(dn_number=100, label_noise_ratio=0.0, box_noise_scale=0.0)
    model = build_dino(stub, num_classes=5, num_queries=20, layers=(6, 6), denoising=noise_free)
    names = official_names_of_parameters(CASE, model)
    # The values were measured with those of the last of the names that the shared heads have.
    last = {ours: name.replace("_embed.0.", "_embed.5.") for ours, name in names.items()}
    state = {ours: reference_value(last[ours], value.shape) for ours, value in model.state_dict().items()}
    model.load_state_dict(state)
    return model


@pytest.fixture(scope="module")
def batch():
    """Two images of 96 x 128, the second one padded from row 70 and column 100 on."""
    padding_mask = torch.zeros(2, 96, 128, dtype=torch.bool)
    padding_mask[1, 70:] = True
    padding_mask[1, :, 100:] = True
    return torch.zeros(2, 3, 96, 128), padding_mask


@torch.no_grad()
def test_evaluation(model, batch):
    outputs = model.eval().run_network(*batch)
    assert_summary(outputs["pred_logits"], (0.140823, 0.306347, -0.512678, 0.828929))
    assert_summary(outputs["pred_boxes"], (0.649127, 0.649127, 0.343119, 0.999004))
    assert_summary(outputs["enc_outputs"]["pred_logits"], (0.008437, 2.005471, -0.036548, -2.939255))
    assert_summary(outputs["enc_outputs"]["pred_boxes"], (0.640922, 0.640922, 0.604971, 1.0))
    first, *_, before_last = outputs["aux_outputs"]
    assert_summary(first["pred_logits"], (0.166979, 0.664056, -0.862262, 1.244137))
    assert_summary(first["pred_boxes"], (0.641318, 0.641318, 0.565957, 0.999012))
    assert_summary(before_last["pred_logits"], (0.107512, 0.336988, -0.516653, 0.554151))
    assert_summary(before_last["pred_boxes"], (0.646997, 0.646997, 0.381088, 0.998997))
    expected = torch.tensor([[0.343119, 0.66056, 0.385752, 0.238944], [0.997181, 0.999116, 0.999091, 0.99901]])
    torch.testing.assert_close(outputs["pred_boxes"][:, 0], expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_post_processing(model, batch):
    sizes = ImageSizes((), [], outputs=[(480, 640), (350, 500)])
    results = [image["instances"] for image in model.postprocess(model.eval().run_network(*batch), sizes)]
    best = [
        (0.688377, 4, (3.9504, 360.756, 72.2885, 387.6503)),
        (0.696128, 4, (248.9492, 174.8671, 748.4913, 524.5186)),
    ]
    for result, (score, label, box) in zip(results, best, strict=True):
        assert result.scores[0].item() == pytest.approx(score, abs=1e-4)
        assert result.pred_classes[0].item() == label
        torch.testing.assert_close(result.pred_boxes.tensor[0], torch.tensor(box), atol=0.05, rtol=0)


@torch.no_grad()
def test_training_without_noise(model, batch):
    targets = [
        Targets(torch.tensor([1, 4]), torch.tensor([[0.3, 0.4, 0.2, 0.3], [0.7, 0.6, 0.4, 0.5]])),
        Targets(
            torch.tensor([0, 2, 2]),
            torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.2, 0.2, 0.1, 0.2], [0.8, 0.3, 0.3, 0.2]]),
        ),
    ]
    model.train()
    queries = model.denoising(targets)
    assert (queries.num_queries, queries.num_groups) == (198, 33)
    filled = queries.query_feat.abs().sum(-1) > 0
    assert filled.sum(1).tolist() == [132, 198]
    losses = model.criterion(model.run_network(*batch, queries), targets, queries)
    assert len(losses) == 39
    for name, value in LOSSES.items():
        assert losses[name].item() == pytest.approx(WEIGHTS[name.split("_")[1]] * value, rel=2e-4), name
    assert sum(losses.values()).item() == pytest.approx(194.16698, rel=1e-4)

"""The whole DINO, small: its interface, what must not change its results, and what training needs."""

import pytest
import torch
from torch import nn

from dino.model import DINO
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.set_prediction.targets import prepare_targets
from tests.dino.building import TINY_BACKBONE, build_dino, make_input, tiny_dino

SUFFIXES = ("", "_0", "_1", "_enc", "_dn", "_dn_0", "_dn_1")
LOSS_NAMES = {f"loss_{kind}{suffix}" for kind in ("class", "bbox", "giou") for suffix in SUFFIXES}


def train_step(model: DINO, batch, seed: int = 0):
    """Losses and gradients of one step with fixed denoising noise."""
    torch.manual_seed(seed)
    model.zero_grad()
    losses = model.train()(batch)
    sum(losses.values()).backward()
    return losses, {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same_detections(first, second, tolerance: float = 1e-4):
    for a, b in zip(first, second, strict=True):
        a, b = a["instances"], b["instances"]
        torch.testing.assert_close(a.scores, b.scores, atol=tolerance, rtol=0)
        torch.testing.assert_close(a.pred_boxes.tensor, b.pred_boxes.tensor, atol=100 * tolerance, rtol=0)
        assert torch.equal(a.pred_classes, b.pred_classes)


@torch.no_grad()
@pytest.mark.parametrize("scales", [4, 5])
@pytest.mark.parametrize("classes", [1, 365])
def test_evaluation_returns_detections_of_the_wanted_size(scales, classes):
    model = tiny_dino(scales=scales, num_classes=classes, num_select=12).eval()
    batch = [make_input(96, 128), {**make_input(65, 90), "height": 650, "width": 900}]
    results = model(batch)
    assert [result["instances"].image_size for result in results] == [(96, 128), (650, 900)]
    for result in results:
        found = result["instances"]
        assert len(found) == 12
        assert found.pred_boxes.tensor.shape == (12, 4)
        assert found.scores.isfinite().all()
        assert found.pred_classes.max() < classes


def test_training_without_denoising():
    losses, gradients = train_step(
        tiny_dino(denoising={"dn_number": 0}), [make_input(64, 64, 2), make_input(64, 64, 0)]
    )
    assert set(losses) == LOSS_NAMES  # the same names in all processes, whatever a batch holds
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["loss_class_dn"] == losses["loss_bbox_dn_0"] == 0
    assert gradients["denoising.label_enc.weight"] is not None


@torch.no_grad()
def test_size_of_the_result_is_that_of_the_image_when_none_is_given():
    image = {key: value for key, value in make_input(64, 80).items() if key == "image"}
    (result,) = tiny_dino().eval()([image])
    assert result["instances"].image_size == (64, 80)


@torch.no_grad()
def test_wanted_size_scales_the_boxes():
    model, image = tiny_dino().eval(), make_input(64, 96)
    small, large = model([image, {**image, "height": 640, "width": 480}])
    scale = torch.tensor([5.0, 10.0, 5.0, 10.0])
    torch.testing.assert_close(large["instances"].pred_boxes.tensor, small["instances"].pred_boxes.tensor * scale)


def test_preprocessing_normalizes_pads_with_zeros_and_marks_padding():
    model = tiny_dino(pixel_mean=(10.0, 20.0, 30.0), pixel_std=(2.0, 4.0, 8.0))
    batch = [make_input(40, 70, seed=1), make_input(50, 60, seed=2)]
    images, padding_mask, sizes = model.preprocess(batch)
    assert images.shape == (2, 3, 50, 70)
    assert sizes == ((50, 70), [(40, 70), (50, 60)], [(40, 70), (50, 60)])
    for i, (h, w) in enumerate(sizes.images):
        assert not padding_mask[i, :h, :w].any()
        assert padding_mask[i].sum() == 50 * 70 - h * w
        assert not images[i][:, padding_mask[i]].any()
    expected = (batch[0]["image"][1].float() - 20) / 4
    torch.testing.assert_close(images[0, 1, :40, :70], expected)
    as_floats = [{**image, "image": image["image"].float()} for image in batch]
    assert torch.equal(model.preprocess(as_floats)[0], images)


@torch.no_grad()
def test_batch_equals_single_images_of_one_size():
    model = tiny_dino().eval()
    batch = [make_input(72, 100, seed=seed) for seed in range(3)]
    assert_same_detections(model(batch), [model([image])[0] for image in batch])


@torch.no_grad()
def test_order_of_the_images_does_not_matter():
    model = tiny_dino().eval()
    batch = [make_input(72, 100, seed=1), make_input(96, 64, seed=2), make_input(50, 50, seed=3)]
    assert_same_detections(model(batch[::-1])[::-1], model(batch))


class Pyramid(nn.Module):
    """A neck that returns given levels, of sizes that the image size is a multiple of."""

    def __init__(self, neck: nn.Module, levels: list):
        super().__init__()
        self.shapes, self.levels = neck.output_shape(), levels

    def output_shape(self):
        return self.shapes

    def forward(self, images):
        return dict(zip(self.shapes, self.levels, strict=True))


def levels_of(height: int, width: int, batch: int, seed: int) -> list:
    draws = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, 64, height // s, width // s, generator=draws) for s in (8, 16, 32, 64)]


def predict_from(model: DINO, levels: list, padding_mask) -> dict:
    model.backbone = Pyramid(model.backbone, levels)
    return model.run_network(torch.zeros(len(padding_mask), 3, *padding_mask.shape[1:]), padding_mask)


@torch.no_grad()
def test_padding_changes_nothing_from_the_encoder_to_the_proposals():
    """In front of it FocalNet and group norms average over the padding, behind it the position of a query is taken in
    the padded image, both as published."""
    model, (h, w), (padded_h, padded_w) = tiny_dino().eval(), (128, 192), (192, 320)
    nn.init.zeros_(model.query_selection.enc_output.bias)  # tokens without an anchor then score last
    alone, together = levels_of(h, w, 1, seed=0), levels_of(padded_h, padded_w, 2, seed=1)
    for level, small in zip(together, alone, strict=True):
        level[:1, :, : small.shape[2], : small.shape[3]] = small
    padding_mask = torch.zeros(2, padded_h, padded_w, dtype=torch.bool)
    padding_mask[0, h:] = True
    padding_mask[0, :, w:] = True
    expected = predict_from(model, alone, torch.zeros(1, h, w, dtype=torch.bool))["enc_outputs"]
    outputs = predict_from(model, together, padding_mask)["enc_outputs"]
    for name in ("pred_logits", "pred_boxes", "proposals"):
        torch.testing.assert_close(outputs[name][:1], expected[name], atol=1e-5, rtol=1e-5)
    model.mask_padding_in_eval = False  # as detrex
    ignored = predict_from(model, together, padding_mask)["enc_outputs"]
    assert not torch.allclose(ignored["pred_boxes"][:1], expected["pred_boxes"], atol=1e-3)


@torch.no_grad()
def test_what_padding_holds_does_not_matter():
    model = tiny_dino().eval()
    padding_mask = torch.zeros(1, 192, 320, dtype=torch.bool)
    padding_mask[:, 128:] = True
    padding_mask[:, :, 256:] = True
    first, second = levels_of(192, 320, 1, seed=0), levels_of(192, 320, 1, seed=1)
    for level, other, stride in zip(first, second, (8, 16, 32, 64), strict=True):
        other[:, :, : 128 // stride, : 256 // stride] = level[:, :, : 128 // stride, : 256 // stride]
    outputs, same = predict_from(model, first, padding_mask), predict_from(model, second, padding_mask)
    for name in ("pred_logits", "pred_boxes"):
        torch.testing.assert_close(outputs[name], same[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("scales", "classes"), [(4, 5), (5, 1), (4, 365)])
def test_training_returns_every_loss_by_name(scales, classes):
    batch = [make_input(64, 96, num_classes=classes), make_input(80, 64, objects=3, num_classes=classes, seed=1)]
    losses, _ = train_step(tiny_dino(scales=scales, num_classes=classes), batch)
    assert set(losses) == LOSS_NAMES
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(("scales", "shared_heads"), [(4, True), (5, False)])
def test_gradient_reaches_every_parameter(scales, shared_heads):
    batch = [make_input(96, 128, objects=5), make_input(128, 90, objects=5, seed=1)]
    model = tiny_dino(scales=scales, shared_heads=shared_heads, denoising=dict(label_noise_ratio=0.0))
    _, gradients = train_step(model, batch)
    lost = {name for name, gradient in gradients.items() if gradient is None or not gradient.any()}
    assert not lost


@pytest.mark.parametrize("counts", [(0, 0), (0, 3)], ids=("none_at_all", "one_empty_image"))
def test_images_without_objects_train(counts):
    """Finite losses of the same names, and a gradient (zero perhaps) for every parameter, as all ranks reduce them."""
    batch = [make_input(64, 96, objects=n, seed=i) for i, n in enumerate(counts)]
    model = tiny_dino()
    losses, gradients = train_step(model, batch)
    assert set(losses) == LOSS_NAMES
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    heads = ("class_embed.0.weight", "class_embed.0.bias", "query_selection.class_embed.weight")
    assert all(gradients[name].any() for name in heads)
    if not any(counts):
        assert all(losses[name] == 0 for name in LOSS_NAMES if "bbox" in name or "giou" in name or "_dn" in name)


@pytest.mark.parametrize("scales", [4, 5])
def test_bfloat16_autocast_stays_close_to_float32(scales):
    """Forward and backward on the CPU, with the same noise. The matching is kept out of it: few, clear objects."""
    batch = [make_input(96, 128, objects=2), make_input(128, 96, objects=1, seed=1)]
    model = tiny_dino(scales=scales)
    expected, _ = train_step(model, batch)
    torch.manual_seed(0)
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch)
    total = sum(losses.values())
    total.backward()
    assert total.item() == pytest.approx(sum(expected.values()).item(), rel=0.03)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_float64_stays_float64():
    model = tiny_dino().double().eval()
    images, padding_mask, _ = model.preprocess([make_input(64, 96)])
    outputs = model.run_network(images, padding_mask)
    assert outputs["pred_logits"].dtype == outputs["pred_boxes"].dtype == torch.float64


def test_activation_checkpointing_changes_nothing():
    batch = [make_input(64, 96), make_input(80, 64, objects=3, seed=1)]
    plain, saving = tiny_dino(), tiny_dino(use_checkpoint=True, backbone=dict(use_checkpoint=True))
    saving.load_state_dict(plain.state_dict())
    (losses, gradients), (same_losses, same_gradients) = train_step(plain, batch), train_step(saving, batch)
    for name in losses:
        torch.testing.assert_close(losses[name], same_losses[name])
    for name in gradients:
        torch.testing.assert_close(gradients[name], same_gradients[name], atol=1e-5, rtol=1e-4)


def test_activation_checkpointing_does_recompute():
    model, calls = tiny_dino(use_checkpoint=True), []
    for layer in (model.encoder.layers[0], model.decoder.layers[0]):
        layer.norm1.register_forward_hook(lambda *_: calls.append(1))
    train_step(model, [make_input(64, 96)])
    assert len(calls) == 4


def test_denoising_queries_do_not_leak_into_the_matched_ones():
    """Whatever the denoising part holds, the matched predictions are those without it."""
    model, batch = tiny_dino().train(), [make_input(64, 96), make_input(80, 64, objects=3, seed=1)]
    images, padding_mask, _ = model.preprocess(batch)
    targets = prepare_targets([image["instances"] for image in batch], model.device, model.num_classes)
    without = model.run_network(images, padding_mask)
    for _ in range(2):
        outputs = model.run_network(images, padding_mask, model.denoising(targets))
        torch.testing.assert_close(outputs["pred_boxes"], without["pred_boxes"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(outputs["pred_logits"], without["pred_logits"], atol=1e-4, rtol=1e-4)
    assert "dn_outputs" not in without


def gradients_of(model: DINO, value) -> set[str]:
    """Which heads a value depends on."""
    model.zero_grad(set_to_none=True)
    value.sum().backward(retain_graph=True)
    return {n for n, p in model.named_parameters() if "bbox_embed" in n and p.grad is not None and p.grad.any()}


def test_boxes_look_forward_twice():
    """A layer's boxes train its own head and that of the layer before it, no earlier one and not the encoder's."""
    model = tiny_dino(shared_heads=False).train()
    images, padding_mask, _ = model.preprocess([make_input(64, 96)])
    outputs = model.run_network(images, padding_mask)
    layers = [*outputs["aux_outputs"], outputs]
    reached = [{name.split(".layers")[0] for name in gradients_of(model, layer["pred_boxes"])} for layer in layers]
    assert reached == [
        {"bbox_embed.0"},
        {"bbox_embed.0", "bbox_embed.1"},
        {"bbox_embed.1", "bbox_embed.2"},
    ]


def test_fresh_heads():
    """Scores start at 0.01; boxes start as the proposals, which no head has moved."""
    bottom_up = FocalNet(**TINY_BACKBONE, out_features=("res3", "res4", "res5"))
    model = build_dino(bottom_up, dim=64, ffn_dim=64, num_queries=8).eval()
    images, padding_mask, _ = model.preprocess([make_input(96, 96)])
    outputs = model.run_network(images, padding_mask)
    for predictions in (outputs, *outputs["aux_outputs"], outputs["enc_outputs"]):
        torch.testing.assert_close(predictions["pred_boxes"], outputs["enc_outputs"]["proposals"], atol=1e-5, rtol=0)
    assert model.class_embed[0].bias.sigmoid().mean().item() == pytest.approx(0.01)


def test_too_few_tokens_for_the_queries_is_said_in_one_sentence():
    model = tiny_dino(num_queries=500).eval()
    with pytest.raises(ValueError, match=r"500 queries.*num_queries"):
        model([make_input(64, 64)])


def test_more_detections_than_pairs_of_query_and_class_is_refused():
    with pytest.raises(ValueError, match="num_select 61"):
        tiny_dino(num_queries=12, num_classes=5, num_select=61)


def test_fewer_levels_than_backbone_outputs_is_refused():
    with pytest.raises(ValueError, match="num_levels"):
        tiny_dino(scales=5, num_levels=3)


def test_state_dict_names():
    """Shared heads are stored once; nothing but parameters is stored."""
    shared, separate = tiny_dino(), tiny_dino(shared_heads=False)
    parameters = {name for name, _ in shared.named_parameters()}
    assert set(shared.state_dict()) == parameters
    assert {name.split(".")[1] for name in parameters if name.startswith("class_embed")} == {"0"}
    heads = {name.split(".")[1] for name in separate.state_dict() if name.startswith("bbox_embed")}
    assert heads == {"0", "1", "2"}
    assert shared.state_dict()["denoising.label_enc.weight"].shape == (5, 64)


def test_extra_level_reads_the_raw_last_map():
    model = tiny_dino()
    images = torch.randn(1, 3, 128, 128)
    levels = model.backbone(images)
    raw = model.backbone.bottom_up(images)["res5"]
    torch.testing.assert_close(levels["p6"], model.backbone.input_proj[3](raw))
    assert [tuple(level.shape[1:]) for level in levels.values()] == [(64, 16, 16), (64, 8, 8), (64, 4, 4), (64, 2, 2)]
    assert {name: shape.stride for name, shape in model.backbone.output_shape().items()} == {
        "p3": 8,
        "p4": 16,
        "p5": 32,
        "p6": 64,
    }


def test_builds_on_the_meta_device():
    with torch.device("meta"):
        model = tiny_dino()
    assert all(parameter.is_meta for parameter in model.parameters())

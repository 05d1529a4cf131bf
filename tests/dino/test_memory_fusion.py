"""Memory fusion: what it fuses, how it starts from a DINO, and which files fit."""

import pytest
import torch
from torch import nn

from dino.memory_fusion import MemoryFusion
from focalnet_d2.checkpoint import checkpoint_metadata, load_checkpoint
from focalnet_d2.checkpoint.export import export_state
from tests.dino.building import make_input, tiny_dino

KINDS = {"dense": {}, "linearnorm": dict(sources="ends"), "linear": dict(sources="ends", norm=False)}


def fused_dino(seed: int = 0, kind: str = "dense", **settings):
    model = tiny_dino(seed, fusion=MemoryFusion(64, num_layers=2, **KINDS[kind], **settings), shared_heads=False)
    return model.eval()


def plain_dino(seed: int = 0):
    model = tiny_dino(seed, shared_heads=False).eval()
    nn.init.normal_(model.encoder.layers[-1].norm2.weight, 1.0, 0.2)
    nn.init.normal_(model.encoder.layers[-1].norm2.bias, 0.0, 0.2)
    return model


def saved(model) -> dict:
    return {"model": model.state_dict(), "metadata": checkpoint_metadata(model)}


def test_channels_are_the_stages_in_their_order():
    stages = [torch.full((1, 2, 3), float(i)) for i in range(3)]
    for sources, expected in (("all", [0.0, 1.0, 2.0]), ("ends", [2.0, 0.0])):
        fusion = MemoryFusion(3, num_layers=2, sources=sources, norm=False)
        nn.init.ones_(fusion.linear.weight)
        for place, value in enumerate(expected):
            fusion.linear.weight.data.zero_()[:, 3 * place : 3 * place + 3] = torch.eye(3)
            assert torch.equal(fusion(*stages), torch.full((1, 2, 3), value))


@pytest.mark.parametrize("kind", KINDS)
def test_a_dino_file_starts_a_fusion_with_its_own_outputs(kind):
    plain, fused = plain_dino(), fused_dino(1, kind, start_from_memory=True)
    report = load_checkpoint(fused, saved(plain))
    assert "starts so that the memory stays" in report.resized["encoder.fusion.linear.weight"]
    images = [make_input(64, 96, seed=1), make_input(96, 64, seed=2)]
    with torch.no_grad():
        expected, found = (model.predict(model.preprocess(images)) for model in (plain, fused))
    assert torch.equal(expected["enc_outputs"]["topk_indices"], found["enc_outputs"]["topk_indices"])
    for name in ("pred_logits", "pred_boxes"):
        torch.testing.assert_close(found[name], expected[name], atol=2e-4, rtol=1e-3)
    assert kind == "linear" or not torch.equal(found["pred_logits"], expected["pred_logits"])  # through two norms


def test_files_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match=r"holds no memory fusion.*encoder.fusion.start_from_memory=True"):
        load_checkpoint(fused_dino(), saved(plain_dino()))
    with pytest.raises(ValueError, match=r"holds a memory fusion of 3 stages with a norm; the model has no memory"):
        load_checkpoint(plain_dino(), saved(fused_dino()))
    with pytest.raises(ValueError, match=r"memory fusion of 2 stages without a norm; .* 3 stages with a norm"):
        load_checkpoint(fused_dino(), saved(fused_dino(kind="linear")))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight", None, r"missing in the file: 1 \(encoder.layers.1.norm2.weight\)"),
        ("bias", None, r"missing in the file: 1 \(encoder.layers.1.norm2.bias\)"),
        ("weight", torch.ones(32), r"shapes that differ: 1 \(encoder.layers.1.norm2.weight \(32,\) for \(64,\)\)"),
    ],
)
def test_a_norm_from_which_no_fusion_can_start_is_refused_itself(name, value, message):
    content = saved(plain_dino())
    del content["model"][f"encoder.layers.1.norm2.{name}"]
    if value is not None:
        content["model"][f"encoder.layers.1.norm2.{name}"] = value
    with pytest.raises(ValueError, match=message):
        load_checkpoint(fused_dino(start_from_memory=True), content)


def test_a_file_of_another_width_is_refused_for_that():
    content = saved(tiny_dino(0, shared_heads=False, dim=32))
    with pytest.raises(ValueError, match=r"holds width 32; the model has width 64 \(to fit the file: [^ ]+dim=32\)"):
        load_checkpoint(fused_dino(start_from_memory=True), content)


def one_layer(sources: str, seed: int = 0):
    """A DINO with a single encoder layer, whose fusion has the same shapes whatever its sources."""
    fusion = MemoryFusion(64, num_layers=1, sources=sources)
    return tiny_dino(seed, layers=(1, 2), fusion=fusion, shared_heads=False).eval()


def test_for_one_layer_the_sources_differ_in_their_order_alone():
    every, ends, images = one_layer("all"), one_layer("ends"), [make_input(64, 96)]
    ends.load_state_dict(every.state_dict())
    with torch.no_grad():
        expected, other = (model.predict(model.preprocess(images))["pred_logits"] for model in (every, ends))
        assert not torch.allclose(expected, other)
        weight = ends.encoder.fusion.linear.weight
        weight.copy_(weight.roll(64, dims=1))
        exchanged = ends.predict(ends.preprocess(images))["pred_logits"]
    torch.testing.assert_close(exchanged, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("of_file", "of_model"), [("all", "ends"), ("ends", "all")])
def test_for_one_layer_the_file_says_which_sources_it_was_trained_with(of_file, of_model):
    content, model = saved(one_layer(of_file)), one_layer(of_model, seed=1)
    load_checkpoint(one_layer(of_file, seed=1), content)
    with pytest.raises(ValueError, match=rf"\(sources {of_model}\): set model.encoder.fusion.sources={of_file}"):
        load_checkpoint(model, content)
    official = export_state(one_layer(of_file), "detrex", keep_settings=True).content()
    load_checkpoint(one_layer(of_file, seed=1), official, keep_settings=True)
    with pytest.raises(ValueError, match=rf"another order: set model.encoder.fusion.sources={of_file}"):
        load_checkpoint(model, official, keep_settings=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_official_layout_and_back(kind):
    model, other = fused_dino(0, kind), fused_dino(1, kind)
    load_checkpoint(other, export_state(model, "detrex", keep_settings=True).content(), keep_settings=True)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))


def test_recomputing_gives_the_same_gradients():
    gradients = []
    for use_checkpoint in (False, True):
        torch.manual_seed(1)
        model = tiny_dino(0, fusion=MemoryFusion(64, num_layers=2), use_checkpoint=use_checkpoint).train()
        sum(model([make_input(64, 64)]).values()).backward()
        gradients.append(model.encoder.fusion.linear.weight.grad)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


def test_sources_that_do_not_exist():
    with pytest.raises(ValueError, match="sources of the memory fusion are 'u'"):
        MemoryFusion(8, sources="u")

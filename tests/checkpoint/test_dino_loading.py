"""DINO checkpoints: official files of FocalNet-DINO and detrex, and our own; what fits and what is refused."""

import json
import re
from functools import lru_cache

import pytest
import torch
from torch import nn

from dino.checkpoint import COCO_IDS, LAYOUTS
from dino.model import DINO
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.checkpoint import check_checkpoint, checkpoint_metadata, load_checkpoint, save_weights
from tests.checkpoint.building import TINY, assert_same_state, classifier_state, on_meta, snapshot, tiny_focalnet
from tests.dino.building import build_dino
from tests.golden.cases import golden_file
from tests.golden.official_names import official_dino_names

DETREX = dict(position=(10000.0, -0.5), mask_padding_in_eval=False, shared_heads=False)
OUTPUTS = ("res2", "res3", "res4", "res5")


@lru_cache
def meta_dino(variant: str, scales: int, *, normalize: bool | None = None, **changes) -> DINO:
    """A DINO of a published size without values, which checking does not change."""
    backbone = dict(FOCALNET_VARIANTS[variant], out_features=OUTPUTS[5 - scales :])
    backbone |= {} if normalize is None else {"normalize_modulator": normalize}
    sizes = dict(num_levels=scales, num_queries=900, layers=(6, 6), num_classes=80)
    with torch.device("meta"):
        return build_dino(FocalNet(**backbone), **{**sizes, **changes})


@lru_cache
def manifest(name: str) -> dict:
    return {"model": on_meta(json.loads(golden_file("dino", f"manifest_{name}.json").read_text())["model"])}


L3, L4 = manifest("focalnet_dino_large_fl3_4scale"), manifest("focalnet_dino_large_fl4_5scale")
D3, D4 = manifest("detrex_dino_focalnet_large_fl3_4scale"), manifest("detrex_dino_focalnet_large_fl4_5scale")


def official_case(layout: str = "focalnet_dino", num_classes: int = 91) -> dict:
    backbone = dict(TINY, use_conv_embed=False, use_layerscale=False, use_postln_in_modulation=False)
    return {
        "layout": layout, "backbone": {**backbone, "out_indices": (1, 2, 3)}, "num_classes": num_classes,
        "num_queries": 7, "enc_layers": 1, "dec_layers": 2, "num_feature_levels": 4, "dim_feedforward": 32,
    }  # fmt: skip


def official_state(layout: str = "focalnet_dino", num_classes: int = 91) -> dict:
    """A small official file with random values; names of one tensor have one value."""
    names = official_dino_names(official_case(layout, num_classes))
    values = {own: torch.randn(shape) for shape, own in names.values()}
    return {name: values[own].clone() for name, (_, own) in names.items()}


def small_dino(num_classes: int = 91, *, seed: int = 0, **changes) -> DINO:
    torch.manual_seed(seed)
    backbone = FocalNet(**TINY, out_features=OUTPUTS[1:])
    sizes = dict(num_queries=7, layers=(1, 2), ffn_dim=32, num_classes=num_classes)
    return build_dino(backbone, **{**sizes, **changes})


# Official files of published sizes


@pytest.mark.parametrize("num_classes", [80, 91])
@pytest.mark.parametrize(("variant", "scales"), [("large_fl3", 4), ("large_fl4", 5), ("huge_fl3", 4), ("huge_fl4", 5)])
def test_focalnet_dino_files_fit(variant, scales, num_classes):
    state = manifest(f"focalnet_dino_{variant}_{scales}scale")
    report = check_checkpoint(meta_dino(variant, scales, num_classes=num_classes), state)
    assert report.layout == "FocalNet-DINO"
    assert not report.missing
    assert len(report.loaded) + len(report.skipped) == len(state["model"])
    assert len(report.skipped) == 11 * 8
    assert len(report.resized) == (5 if num_classes == 80 else 1)


@pytest.mark.parametrize(("variant", "scales", "state"), [("large_fl3", 4, D3), ("large_fl4", 5, D4)])
def test_detrex_files_fit(variant, scales, state):
    report = check_checkpoint(meta_dino(variant, scales, normalize=False, **DETREX), state)
    assert report.layout == "detrex"
    assert not report.missing
    assert not report.resized
    assert not report.notes
    assert len(report.loaded) + len(report.skipped) == len(state["model"])


@pytest.mark.parametrize(
    ("state", "model", "cause"),
    [
        (L4, ("large_fl4", 4, {}), ["it holds 5 feature scales", "model has 4 feature scales", "num_levels=5"]),
        (L3, ("large_fl3", 5, {}), ["it holds 4 feature scales", "model has 5 feature scales"]),
        (L4, ("large_fl3", 5, {}), ["it holds 4 focal levels", "model has 3 focal levels"]),
        (L4, ("tiny_lrf", 5, {}), ["it holds FocalNet-L, 4 focal", "model has FocalNet-T, 3 focal"]),
        (D3, ("huge_fl3", 4, DETREX), ["it holds FocalNet-L", "model has FocalNet-H"]),
        (L4, ("large_fl4", 5, {"num_queries": 300}), ["900 queries", "300 queries", "num_queries=900"]),
        (L4, ("large_fl4", 5, {"layers": (6, 3)}), ["6 decoder layers", "3 decoder layers"]),
        (L4, ("large_fl4", 5, {"layers": (1, 6)}), ["6 encoder layers", "1 encoder layers"]),
        (L4, ("large_fl4", 5, {"ffn_dim": 1024}), ["feed-forward width 2048", "feed-forward width 1024"]),
        (L4, ("large_fl4", 5, {"num_classes": 20}), ["has 91 classes and the model 20", "train.new_classes=True"]),
        (D4, ("large_fl4", 5, {}), ["shared by all decoder layers: False", "model.shared_heads=False"]),
        (L4, ("large_fl4", 5, {"shared_heads": False}), ["model.shared_heads=True", "train.keep_settings=True"]),
        (L4, ("large_fl4", 5, {"normalize": False}), ["model.backbone.bottom_up.normalize_modulator=True"]),
        (L4, ("large_fl4", 5, {"position": (10000.0, 0.0)}), ["model.position_embedding.temperature=20"]),
        (L4, ("large_fl4", 5, {"position": (20.0, 0.0, 10000.0)}), ["model.position_embedding.temperature_width=20"]),
        (D4, ("large_fl4", 5, {**DETREX, "position": (20.0, -0.5)}), ["model.position_embedding.temperature=10000"]),
        (D4, ("large_fl4", 5, {**DETREX, "position": (10000.0, 0.0)}), ["model.position_embedding.offset=-0.5"]),
        (D4, ("large_fl4", 5, {**DETREX, "mask_padding_in_eval": True}), ["model.mask_padding_in_eval=False"]),
        (D4, ("large_fl4", 5, DETREX), ["normalize_modulator True", "bottom_up.normalize_modulator=False"]),
    ],
)
def test_a_mismatch_is_one_sentence_with_its_cause(state, model, cause):
    variant, scales, changes = model
    with pytest.raises(ValueError, match="The checkpoint") as error:
        check_checkpoint(meta_dino(variant, scales, **changes), state)
    for part in cause:
        assert part in str(error.value)
    assert len(str(error.value)) < 450
    assert "\n" not in str(error.value)


def test_settings_may_be_kept_and_are_then_noted():
    report = check_checkpoint(meta_dino("large_fl4", 5, **DETREX), L4, keep_settings=True)
    assert not report.missing
    assert {note.split(" stays ")[0] for note in report.notes if "stays" in note} == {
        "position_embedding.temperature",
        "position_embedding.offset",
        "mask_padding_in_eval",
        "shared_heads",
    }


def test_a_classifier_fills_the_backbone_and_the_report_says_what_is_fresh():
    shapes = json.loads(golden_file("focalnet", "manifests_classification/focalnet_large_fl4.json").read_text())[
        "model"
    ]
    report = check_checkpoint(meta_dino("large_fl4", 4), on_meta(shapes))
    assert report.layout == "Microsoft classification"
    assert {name.split(".")[0] for name in report.missing} >= {"encoder", "decoder", "class_embed", "denoising"}
    fresh = [name for name in report.missing if name.startswith("backbone.bottom_up")]
    assert all(name.split(".")[2] in ("norm1", "norm2", "norm3") for name in fresh)
    assert "kept as the model had them" in str(report)


# Values


def test_focalnet_dino_values_arrive():
    state, model = official_state(), small_dino()
    load_checkpoint(model, {"model": state})
    pairs = {
        "backbone.bottom_up.norm3.weight": "backbone.0.norm3.weight",
        "backbone.input_proj.3.1.bias": "input_proj.3.1.bias",
        "level_embed": "transformer.level_embed",
        "decoder.layers.1.norm1.weight": "transformer.decoder.layers.1.norm1.weight",
        "query_selection.class_embed.bias": "transformer.enc_out_class_embed.bias",
        "query_selection.enc_output_norm.weight": "transformer.enc_output_norm.weight",
        "class_embed.0.weight": "class_embed.1.weight",
        "bbox_embed.0.layers.2.weight": "transformer.decoder.bbox_embed.1.layers.2.weight",
    }
    for ours, theirs in pairs.items():
        assert model.state_dict()[ours].equal(state[theirs]), ours
    assert model.denoising.label_enc.weight.equal(state["label_enc.weight"][:91])


def test_detrex_values_arrive():
    state, model = official_state("detrex", 5), small_dino(5, **DETREX)
    load_checkpoint(model, {"model": state})
    pairs = {
        "backbone.input_proj.2.1.weight": "neck.convs.2.norm.weight",
        "backbone.input_proj.3.0.weight": "neck.extra_convs.0.conv.weight",
        "decoder.layers.1.norm1.weight": "transformer.decoder.layers.1.norms.1.weight",
        "decoder.layers.1.norm2.weight": "transformer.decoder.layers.1.norms.0.weight",
        "decoder.layers.0.norm3.weight": "transformer.decoder.layers.0.norms.2.weight",
        "encoder.layers.0.norm2.bias": "transformer.encoder.layers.0.norms.1.bias",
        "query_selection.bbox_embed.layers.1.bias": "bbox_embed.2.layers.1.bias",
        "query_selection.class_embed.weight": "class_embed.2.weight",
        "class_embed.1.weight": "class_embed.1.weight",
        "denoising.label_enc.weight": "label_enc.weight",
    }
    for ours, theirs in pairs.items():
        assert model.state_dict()[ours].equal(state[theirs]), ours


def test_every_decoder_layer_gets_its_copy_of_a_shared_head_when_asked_to():
    state, model = official_state(), small_dino(shared_heads=False)
    load_checkpoint(model, state, keep_settings=True)
    for layer in (0, 1):
        assert model.class_embed[layer].weight.equal(state["class_embed.0.weight"])


@pytest.mark.parametrize("name", ["class_embed.1.weight", "transformer.decoder.bbox_embed.0.layers.1.bias"])
def test_copies_of_a_shared_head_that_differ_are_refused(name):
    state, model = official_state(), small_dino()
    state[name] = state[name] + 1
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"different values under \S+ and \S+.*model\.shared_heads=False"):
        load_checkpoint(model, state)
    assert_same_state(snapshot(model), before)


def test_a_file_whose_layers_have_their_own_heads_fits_separate_heads():
    state = official_state()
    for prefix in ("", "transformer.decoder."):
        state[f"{prefix}class_embed.1.weight"] = state["class_embed.1.weight"] + (0 if prefix else 1)
    model = small_dino(shared_heads=False)
    report = load_checkpoint(model, state)
    assert not any("shared_heads" in note for note in report.notes)
    assert model.class_embed[1].weight.equal(state["class_embed.0.weight"] + 1)


def test_an_unknown_name_is_refused_and_a_missing_one_too():
    state, model = official_state(), small_dino()
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"names the model does not have: 1 \(transformer\.refpoint_embed\.weight\)"):
        load_checkpoint(model, {**state, "transformer.refpoint_embed.weight": torch.ones(7, 4)})
    state.pop("transformer.enc_output.bias")
    with pytest.raises(ValueError, match=r"names missing in the file: 1 \(query_selection\.enc_output\.bias\)"):
        load_checkpoint(model, state)
    assert_same_state(snapshot(model), before)


# Classes

OFFICIAL_TABLES = {  # our name -> name in the file
    "class_embed.0.weight": "class_embed.0.weight",
    "class_embed.0.bias": "class_embed.0.bias",
    "query_selection.class_embed.weight": "transformer.enc_out_class_embed.weight",
    "denoising.label_enc.weight": "label_enc.weight",
}


def test_coco_rows_are_chosen_by_category_id():
    assert len(COCO_IDS) == 80
    assert COCO_IDS[:12] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)
    assert COCO_IDS[-1] == 90
    state, model = official_state(), small_dino(80)
    report = load_checkpoint(model, state)
    for ours, theirs in OFFICIAL_TABLES.items():
        assert model.state_dict()[ours].equal(state[theirs][list(COCO_IDS)]), ours
    assert "80 of the file's 91 class rows are taken" in report.notes


def test_objects365_rows_start_at_one():
    state, model = official_state(num_classes=366), small_dino(365)
    load_checkpoint(model, state)
    assert model.class_embed[0].weight.equal(state["class_embed.0.weight"][1:])
    assert model.denoising.label_enc.weight.equal(state["label_enc.weight"][1:366])


def test_a_new_class_list_leaves_all_class_rows_fresh_and_fills_the_rest():
    state, model = official_state(), small_dino(3)
    before = snapshot(model)
    report = load_checkpoint(model, state, new_classes=True)
    for ours in OFFICIAL_TABLES:
        assert model.state_dict()[ours].equal(before[ours]), ours
    assert model.bbox_embed[0].layers[0].weight.equal(state["bbox_embed.0.layers.0.weight"])
    assert "all 3 classes are new" in report.notes


def test_a_new_class_list_keeps_the_rows_of_known_names():
    state, model = official_state(), small_dino(3)
    before = snapshot(model)
    load_checkpoint(model, state, new_classes=True, class_names=["balloon", "toothbrush", "person"])
    for ours, theirs in OFFICIAL_TABLES.items():
        value = model.state_dict()[ours]
        assert value[0].equal(before[ours][0])
        assert value[1].equal(state[theirs][90])
        assert value[2].equal(state[theirs][1])


def test_another_class_list_of_the_same_length_is_refused():
    file, model = small_dino(2, seed=1), small_dino(2, seed=2)
    before = snapshot(model)
    content = {"model": file.state_dict(), "metadata": checkpoint_metadata(file, ["cat", "dog"])}
    with pytest.raises(ValueError, match=r"among them bird, which the file does not know.*train\.new_classes=True"):
        load_checkpoint(model, content, class_names=["bird", "dog"])
    assert_same_state(snapshot(model), before)


# Our own files


def test_own_files_come_back_whole(tmp_path):
    file, model = small_dino(4, seed=1), small_dino(4, seed=2)
    save_weights(tmp_path / "m.safetensors", file, checkpoint_metadata(file, list("abcd")))
    report = load_checkpoint(model, tmp_path / "m.safetensors", class_names=list("abcd"))
    assert_same_state(snapshot(model), snapshot(file))
    assert report.layout == "focalnet_d2"
    assert (report.missing, report.skipped, report.resized, report.notes) == ([], {}, {}, [])


def test_own_files_follow_the_order_of_the_class_names():
    file, model = small_dino(3, seed=1), small_dino(3, seed=2)
    content = {"model": file.state_dict(), "metadata": checkpoint_metadata(file, ["a", "b", "c"])}
    load_checkpoint(model, content, class_names=["c", "a", "b"])
    assert model.class_embed[0].bias.equal(file.class_embed[0].bias[[2, 0, 1]])
    assert model.denoising.label_enc.weight.equal(file.denoising.label_enc.weight[[2, 0, 1]])


def test_own_files_note_the_settings_they_were_trained_with():
    file = small_dino(3, position=(10000.0, -0.5))
    content = {"model": file.state_dict(), "metadata": checkpoint_metadata(file)}
    with pytest.raises(
        ValueError, match=r"set model\.position_embedding\.temperature=10000\.0 model\.pos\S*offset=-0\.5"
    ):
        load_checkpoint(small_dino(3), content)
    assert len(load_checkpoint(small_dino(3), {"model": file.state_dict()}).notes) == 5


def test_own_files_note_the_temperature_of_the_width():
    file = small_dino(3, position=(20.0, 0.0, 10000.0))
    content = {"model": file.state_dict(), "metadata": checkpoint_metadata(file)}
    assert content["metadata"]["settings"]["position_embedding.temperature_width"] == 10000
    load_checkpoint(small_dino(3, position=(20.0, 0.0, 10000.0)), content)
    with pytest.raises(ValueError, match=r"set model\.position_embedding\.temperature_width=10000"):
        load_checkpoint(small_dino(3), content)
    del content["metadata"]["settings"]["position_embedding.temperature_width"]  # as older files: one for both
    load_checkpoint(small_dino(3), content)
    with pytest.raises(ValueError, match=r"set model\.position_embedding\.temperature_width=20"):
        load_checkpoint(small_dino(3, position=(20.0, 0.0, 10000.0)), content)


def test_the_model_offers_its_layouts():
    assert small_dino(2).layouts is LAYOUTS


def test_a_dino_does_not_take_another_model():
    with pytest.raises(ValueError, match=r"no layout that DINO can load \(FocalNet-DINO, detrex, focalnet_d2, Micro"):
        load_checkpoint(small_dino(2), nn.Linear(2, 2).state_dict())


def test_a_distributed_wrapper_is_looked_through(monkeypatch):
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", Wrapper)
    state, model = official_state(), small_dino()
    load_checkpoint(Wrapper(model), {"model": {f"module.{name}": value for name, value in state.items()}})
    assert model.level_embed.equal(state["transformer.level_embed"])


def test_a_classifier_leaves_the_heads_as_they_were():
    model, file = small_dino(3), tiny_focalnet(seed=5)
    before = snapshot(model)
    load_checkpoint(model, {"model": classifier_state(file)})
    assert model.backbone.bottom_up.layers[1].blocks[0].mlp.fc1.weight.equal(file.layers[1].blocks[0].mlp.fc1.weight)
    for name, value in model.state_dict().items():
        if not name.startswith("backbone.bottom_up.") or re.match(r"backbone\.bottom_up\.norm\d", name):
            assert value.equal(before[name]), name

"""Models written in published layouts: read again they are equal bit by bit, and so is a file that was read."""

import math
from functools import cache

import pytest
import torch
from detectron2.config import instantiate
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dino.checkpoint import COCO_IDS
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint import load_checkpoint, read_checkpoint
from focalnet_d2.checkpoint.export import export_state
from focalnet_d2.checkpoint.layout import drop, merge, rename
from focalnet_d2.config.lazy import apply_overrides, load_recipe
from tests.checkpoint.building import LARGE_FLAGS, assert_same_state, snapshot, tiny_focalnet
from tests.checkpoint.mask2former_files import case_model, small_official
from tests.checkpoint.test_dino_loading import DETREX, official_state, small_dino
from tests.recipes import meta_model

MINI = {
    "Mask R-CNN": ("mask_rcnn_focalnet_mini_coco", "mmdetection"),
    "Cascade Mask R-CNN": ("cascade_mask_rcnn_focalnet_mini_coco", "mmdetection"),
    "ATSS": ("atss_focalnet_mini_coco", "mmdetection"),
    "Sparse R-CNN": ("sparse_rcnn_focalnet_mini_coco", "mmdetection"),
    "UPerNet": ("upernet_focalnet_mini_ade20k", "mmsegmentation"),
    "DINO": ("dino_focalnet_mini_coco", "FocalNet-DINO"),
    "Mask2Former": ("mask2former_focalnet_mini_coco", "Mask2Former"),
    "classifier": ("classifier_focalnet_mini_folder", "Microsoft classification"),
    "classifier, transformers": ("classifier_focalnet_mini_folder", "Hugging Face transformers"),
    "classifier, timm": ("classifier_focalnet_mini_folder", "timm"),
}


@cache
def mini_model(recipe: str) -> nn.Module:
    """A shipped small model whose every parameter and running mean is random; not to be changed."""
    torch.manual_seed(0)
    model = instantiate(load_recipe(recipe).model).eval()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn_like(value))
    return model


def empty_copy(recipe: str) -> nn.Module:
    model = instantiate(load_recipe(recipe).model).eval()
    for value in model.state_dict().values():
        value.zero_()
    return model


@pytest.mark.parametrize("family", MINI)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_written_reads_as_it_was(family, suffix, tmp_path):
    recipe, layout = MINI[family]
    model, other = mini_model(recipe), empty_copy(recipe)
    path = tmp_path / f"file{suffix}"
    export_state(model, layout.upper()).save(path)
    report = load_checkpoint(other, read_checkpoint(path), complete=True)
    assert report.layout == layout
    assert_same_state(snapshot(other), snapshot(model))


@pytest.mark.parametrize(
    ("file", "model", "layout"),
    [
        (lambda: official_state("detrex", 5), lambda: small_dino(5, **DETREX), "detrex"),
        (lambda: official_state("focalnet_dino", 5), lambda: small_dino(5), "FocalNet-DINO"),
        (small_official, case_model, "Mask2Former"),
    ],
    ids=["detrex", "FocalNet-DINO", "Mask2Former"],
)
def test_a_file_that_was_read_is_written_as_it_was(file, model, layout):
    file, model = file(), model()
    load_checkpoint(model, file)
    exported = export_state(model, layout).tensors
    if layout == "FocalNet-DINO":
        assert not exported["label_enc.weight"][5].any()  # the spare row, which nothing reads
        file["label_enc.weight"][5] = 0
    assert_same_state(exported, file)


# Rows of classes


def test_focalnet_dino_has_a_row_for_every_category_id():
    model = small_dino(80)
    nn.init.normal_(model.class_embed[0].bias)
    exported = export_state(model, "FocalNet-DINO")
    bias, weight, labels = (
        exported.tensors[name]
        for name in ("class_embed.1.bias", "transformer.enc_out_class_embed.weight", "label_enc.weight")
    )
    assert (bias.shape, weight.shape, labels.shape) == ((91,), (91, 256), (92, 256))
    ids, missing = list(COCO_IDS), [0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83]
    assert sorted(ids + missing) == list(range(91))
    assert torch.equal(bias[ids], model.class_embed[0].bias)
    assert torch.equal(labels[ids], model.denoising.label_enc.weight)
    torch.testing.assert_close(bias[missing], torch.full((11,), -math.log(99)))
    assert not weight[missing].any()
    assert "80 class rows become 91" in exported.notes[0]
    again = small_dino(80, seed=1)
    load_checkpoint(again, exported.content())
    assert_same_state(snapshot(again), snapshot(model))


def test_other_lists_of_classes_keep_their_rows():
    model = small_dino(80)
    names = [f"class {i}" for i in range(80)]
    exported = export_state(model, "FocalNet-DINO", class_names=names)
    assert len(exported.tensors["class_embed.0.bias"]) == 80
    assert len(exported.notes) == 1
    again = small_dino(80, seed=1)
    load_checkpoint(again, {**exported.content(), "metadata": {"thing_classes": names}}, class_names=names)
    assert_same_state(snapshot(again), snapshot(model))


def test_91_rows_stay_91_rows():
    exported = export_state(small_dino(91), "FocalNet-DINO")
    assert len(exported.tensors["class_embed.0.bias"]) == 91
    assert exported.notes == ["the label table gets a spare last row of zeros, which nothing reads"]


def test_a_shared_head_stands_under_all_of_its_names():
    model = small_dino()  # two decoder layers
    tensors = export_state(model, "FocalNet-DINO").tensors
    names = [f"{prefix}class_embed.{layer}.weight" for prefix in ("", "transformer.decoder.") for layer in (0, 1)]
    assert {tensors[name].data_ptr() for name in names} == {model.class_embed[0].weight.data_ptr()}


# The backbone alone


@pytest.mark.parametrize("layout", ["FocalNet backbone", "Microsoft classification", "timm"])
def test_a_bare_backbone_has_files_of_its_own(layout):
    model, other = tiny_focalnet(**LARGE_FLAGS), FocalNet(**{**vars_of(tiny_focalnet(**LARGE_FLAGS))})
    exported = export_state(model, layout, keep_settings=True)
    assert ("norm3.weight" in exported.tensors) == (layout == "FocalNet backbone")
    report = load_checkpoint(other, exported.content(), keep_settings=True)
    assert report.layout == layout
    for name, value in other.state_dict().items():
        fresh = name.startswith("norm") and layout != "FocalNet backbone"
        assert fresh or torch.equal(value, model.state_dict()[name])
    assert len(exported.notes) == (layout != "FocalNet backbone")


def vars_of(model: FocalNet) -> dict:
    names = ("embed_dim", "depths", "focal_levels", "focal_windows", "use_conv_embed", "use_postln", "use_layerscale")
    return {name: getattr(model, name) for name in names}


# What cannot be written


@pytest.mark.parametrize(
    ("recipe", "layout", "words"),
    [
        ("dino_focalnet_large_fl4_5scale_12ep", "Microsoft classification", "no place for the heads of a DINO.*alone"),
        ("dino_focalnet_large_fl4_5scale_12ep", "Mask2Former", "cannot be written in the layout 'Mask2Former'.*detrex"),
        ("dino_focalnet_large_fl4_5scale_12ep", "detrex", "temperature 10000 .here 20"),
        (
            "dino_focalnet_large_fl4_5scale_12ep_detrex",
            "FocalNet-DINO",
            "temperature 20 .here 10000",
        ),
        ("mask_rcnn_focalnet_tiny_srf_1x", "FocalNet-DINO", "cannot be written.*mmdetection, focalnet_d2"),
        ("classifier_focalnet_tiny_srf", "FocalNet backbone", "no place for the heads of a"),
    ],
)
def test_what_does_not_fit_a_layout_is_refused_with_the_reason(recipe, layout, words):
    with pytest.raises(ValueError, match=words):
        export_state(meta_model(recipe), layout)


def test_one_head_for_all_layers_is_not_written_as_many():
    with pytest.raises(ValueError, match=r"heads for every decoder layer: set model\.shared_heads=False"):
        export_state(meta_model("dino_focalnet_large_fl4_5scale_12ep"), "detrex", keep_settings=True)


def test_a_backbone_is_no_whole_model():
    with pytest.raises(ValueError, match="holds more than a FocalNet has"):
        export_state(tiny_focalnet(), "mmdetection or mmsegmentation")


def test_settings_may_be_kept():
    recipe = load_recipe("dino_focalnet_large_fl4_5scale_12ep_detrex")
    apply_overrides(recipe, ["model.mask_padding_in_eval=True"])
    with torch.device("meta"):
        model = instantiate(recipe.model)
    with pytest.raises(ValueError, match=r"mask_padding_in_eval False \(here True\)"):
        export_state(model, "detrex")
    assert len(export_state(model, "detrex", keep_settings=True).tensors) == 877


def test_only_two_endings_can_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.pth or \.safetensors"):
        export_state(tiny_focalnet(), "FocalNet backbone").save(tmp_path / "file.pkl")
    assert not list(tmp_path.iterdir())


# Rules read backwards

PARTS = st.lists(st.sampled_from(["a", "b.c", "#", "<w|bias>", "<x|y|z>"]), min_size=1, max_size=6)


@given(PARTS, st.data())
def test_a_rule_and_its_inverse_undo_each_other(parts, data):
    names = [
        part if part[0] not in "#<" else data.draw(st.sampled_from(part.strip("<>").split("|")))
        if part[0] == "<" else str(data.draw(st.integers(0, 12)))
        for part in parts
    ]  # fmt: skip
    kinds = {kind: [part for part in parts if part[0] == kind] for kind in "#<"}
    order = data.draw(st.permutations(["t", *kinds["#"], *["<>"] * len(kinds["<"])]))
    rule, name = rename(".".join(parts), ".".join(order)), ".".join(names)
    assert rule.matches(name)
    there = rule.apply(name)
    assert rule.inverse().matches(there)
    assert rule.inverse().apply(there) == name


def test_some_rules_have_no_inverse():
    assert drop("a.#", "not ours").inverse() is None
    assert merge("copy.#", "only", "advice").inverse() is None

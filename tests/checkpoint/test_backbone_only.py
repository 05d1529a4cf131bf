"""The backbone alone, out of files of other models; and the advice to take it where the whole file does not fit."""

import json

import pytest
import torch
from torch import nn

from dino.model import DINO
from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.backbone.variants import FOCALNET_VARIANTS
from focalnet_d2.checkpoint import check_checkpoint, load_checkpoint
from tests.checkpoint.building import classifier_state, on_meta, own_file, snapshot, tiny_focalnet
from tests.checkpoint.mask2former_files import (  # fmt: skip
    PANOPTIC,
    TINY_BACKBONE,
    meta_mask2former,
    official_shapes,
    small_mask2former,
    small_official,
)
from tests.dino.building import build_dino
from tests.golden.cases import golden_file

DINO_FILES = pytest.mark.parametrize(
    ("file", "layout"),
    [
        ("focalnet_dino_large_fl3_4scale", "FocalNet-DINO"),
        ("detrex_dino_focalnet_large_fl3_4scale", "detrex"),
    ],
)


def dino_shapes(name: str) -> dict:
    return on_meta(json.loads(golden_file("dino", f"manifest_{name}.json").read_text())["model"])


@DINO_FILES
def test_an_official_dino_does_not_go_into_a_mask2former(file, layout):
    with pytest.raises(ValueError, match=rf"\({layout} layout\) .*not a Mask2Former; .*train\.backbone_only=True"):
        check_checkpoint(meta_mask2former(), dino_shapes(file))


def small_dino(seed: int = 0, **backbone) -> DINO:
    torch.manual_seed(seed)
    sizes = dict(TINY_BACKBONE, out_features=("res3", "res4", "res5"), **backbone)
    return build_dino(FocalNet(**sizes), num_queries=7, layers=(1, 2), ffn_dim=32, num_classes=3)


def test_our_models_do_not_go_into_each_other(tmp_path):
    dino, mask2former = small_dino(), small_mask2former()
    with pytest.raises(ValueError, match=r"holds a DINO and not a Mask2Former; .*train\.backbone_only=True"):
        load_checkpoint(mask2former, own_file(dino, tmp_path))
    with pytest.raises(ValueError, match=r"holds a Mask2Former and not a DINO; .*train\.backbone_only=True"):
        load_checkpoint(dino, own_file(mask2former, tmp_path))


def test_an_official_mask2former_does_not_go_into_a_dino():
    with pytest.raises(ValueError, match=r"\(Mask2Former layout\) holds a Mask2Former and not a DINO"):
        load_checkpoint(small_dino(), small_official())


def assert_only_backbone(model, before, focalnet, prefix, fresh: str = ""):
    """The model has this FocalNet's values; its heads and the norms of the `fresh` outputs those it had before."""
    wanted, kept = focalnet.state_dict(), tuple(f"{prefix}norm{stage}." for stage in fresh)
    for name, value in model.state_dict().items():
        taken = name.startswith(prefix) and not name.startswith(kept or "-")
        assert value.equal(wanted[name.removeprefix(prefix)] if taken else before[name]), name


def test_a_mask2former_starts_from_the_backbone_of_a_dino(tmp_path):
    dino, model = small_dino(seed=5), small_mask2former()
    before = snapshot(model)
    report = load_checkpoint(model, own_file(dino, tmp_path), backbone_only=True)
    assert_only_backbone(model, before, dino.backbone.bottom_up, "backbone.", fresh="0")
    assert {name.split(".")[0] for name in report.missing} == {"backbone", "pixel_decoder", "decoder"}
    assert report.notes == []


def test_a_dino_starts_from_the_backbone_of_a_mask2former(tmp_path):
    model, dino = small_mask2former(seed=6), small_dino()
    before = snapshot(dino)
    report = load_checkpoint(dino, own_file(model, tmp_path), backbone_only=True)
    assert_only_backbone(dino, before, model.backbone, "backbone.bottom_up.")
    assert set(report.skipped) >= {"backbone.norm0.weight", "decoder.class_embed.bias"}


def test_a_dino_starts_from_the_backbone_of_an_official_mask2former():
    backbone = dict(FOCALNET_VARIANTS["large_fl3"], out_features=("res3", "res4", "res5"))
    with torch.device("meta"):
        dino = build_dino(FocalNet(**backbone))
    report = check_checkpoint(dino, official_shapes(PANOPTIC), backbone_only=True)
    assert report.layout == "Mask2Former"
    assert all(name.startswith("backbone.bottom_up.") for name in report.loaded)
    assert not [name for name in report.missing if name.startswith("backbone.bottom_up.")]


@DINO_FILES
def test_a_mask2former_starts_from_the_backbone_of_an_official_dino(file, layout):
    report = check_checkpoint(meta_mask2former(), dino_shapes(file), backbone_only=True)
    assert report.layout == layout
    fresh = [name for name in report.missing if name.startswith("backbone.")]
    assert fresh == ["backbone.norm0.weight", "backbone.norm0.bias"]


def test_flags_of_the_backbone_are_compared_under_the_names_of_the_recipe(tmp_path):
    dino = small_dino(normalize_modulator=True)
    with pytest.raises(ValueError, match=r"set model\.backbone\.normalize_modulator=True, or train\.keep_settings"):
        load_checkpoint(small_mask2former(), own_file(dino, tmp_path), backbone_only=True)


def test_a_backbone_is_taken_from_a_file_of_the_same_kind_and_from_a_classifier(tmp_path):
    file, model = small_mask2former(seed=1), small_mask2former(seed=2)
    before = snapshot(model)
    load_checkpoint(model, own_file(file, tmp_path), backbone_only=True)
    assert_only_backbone(model, before, file.backbone, "backbone.")
    classifier = tiny_focalnet(seed=9, **TINY_BACKBONE)
    for backbone_only in (False, True):
        load_checkpoint(model, {"model": classifier_state(classifier)}, backbone_only=backbone_only)
        assert_only_backbone(model, snapshot(model), classifier, "backbone.", fresh="0123")


def test_a_backbone_alone_is_not_enough_where_all_is_wanted(tmp_path):
    path = own_file(small_dino(), tmp_path)
    with pytest.raises(ValueError, match="holds only a part of the model"):
        load_checkpoint(small_mask2former(), path, backbone_only=True, complete=True)


def test_a_model_without_focalnet_has_no_backbone_to_fill():
    with pytest.raises(ValueError, match=r"Linear has no FocalNet: set train\.backbone_only=False"):
        load_checkpoint(nn.Linear(2, 2), {"weight": torch.ones(2, 2)}, backbone_only=True)

"""Names and shapes of the official DINO files against our models, without any values."""

import json
import math
import re

import pytest
import torch

from tests.golden.cases import dino_case_id, dino_cases, golden_dir, skip_without
from tests.golden.dino_cases import build
from tests.golden.loading import check_shapes
from tests.golden.official_names import official_dino_names


def manifests() -> list:
    return [path for kind in ("dino", "stable_dino") for path in sorted(golden_dir(kind).glob("manifest_*.json"))]


def case_of_manifest(shapes: dict) -> dict:
    """The sizes that names and shapes tell, in the form of a case."""

    def numbers(pattern: str) -> list[int]:
        found = {int(match.group(1)) for name in shapes if (match := re.match(pattern, name))}
        return sorted(found)

    detrex, fused = "neck.convs.0.conv.weight" in shapes, "transformer.encoder.fusion_layer.0.weight" in shapes
    prefix = "backbone." if detrex else "backbone.0."
    blocks = [numbers(rf"{re.escape(prefix)}layers\.{i}\.blocks\.(\d+)\.") for i in range(4)]
    first = f"{prefix}layers.0.blocks.0."
    levels = len(numbers(rf"{re.escape(first)}modulation\.focal_layers\.(\d+)\."))
    level_embed = "transformer.level_embeds" if detrex else "transformer.level_embed"
    backbone = {
        "embed_dim": shapes[prefix + "patch_embed.norm.weight"][0],
        "depths": [len(found) for found in blocks],
        "out_indices": numbers(rf"{re.escape(prefix)}norm(\d)\."),
        "focal_levels": [levels] * 4,
        "focal_windows": [shapes[first + "modulation.focal_layers.0.0.weight"][-1]] * 4,
        "use_conv_embed": shapes[prefix + "patch_embed.proj.weight"][-1] == 7,
        "use_layerscale": first + "gamma_1" in shapes,
        "use_postln": first + "gamma_1" in shapes,  # all published networks with layer scale
        "use_postln_in_modulation": first + "modulation.ln.weight" in shapes,
        # No shape tells: FocalNet-DINO's large networks with four levels.
        "normalize_modulator": not detrex and levels == 4 and first + "modulation.ln.weight" not in shapes,
    }
    return {
        "layout": "stable_dino" if fused else "detrex" if detrex else "focalnet_dino",
        "backbone": backbone,
        "num_classes": len_of(shapes, "class_embed.0.bias"),
        "num_queries": len_of(shapes, "transformer.tgt_embed.weight"),
        "enc_layers": len(numbers(r"transformer\.encoder\.layers\.(\d+)\.")),
        "dec_layers": len(numbers(r"transformer\.decoder\.layers\.(\d+)\.")),
        "num_feature_levels": len_of(shapes, level_embed),
        "select_box_nums": 300,
    }


def len_of(shapes: dict, name: str) -> int:
    return shapes[name][0]


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.stem)
def test_official_file_fits_the_model_of_its_size(path):
    """Strictly: no name is missing, none is left over but other names of shared tensors and the padding class."""
    manifest = json.loads(path.read_text())
    case = case_of_manifest(manifest["model"])
    with torch.device("meta"):
        model = build(case)
    report = check_shapes(model, manifest["model"])
    assert not report.missing
    assert set(report.loaded) == set(model.state_dict())
    assert len(report.skipped) == len(manifest["shared"])
    assert set(report.skipped) <= {*manifest["shared"], *manifest["shared"].values()}
    unused_row = 256 if case["layout"] == "focalnet_dino" else 0
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == manifest["parameters"] - unused_row
    backbone = sum(parameter.numel() for parameter in model.backbone.bottom_up.parameters())
    assert backbone == manifest["parameters_backbone"]


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.stem)
def test_the_rule_for_official_names_gives_the_manifest(path):
    """The cases have no list of names; the one their weights come from is right for every list there is."""
    manifest = json.loads(path.read_text())
    names = official_dino_names(case_of_manifest(manifest["model"]))
    assert {name: list(shape) for name, (shape, _) in names.items()} == manifest["model"]
    assert {name: other for name, (_, other) in names.items() if other != name} == manifest["shared"]


@pytest.mark.parametrize("case", dino_cases(), ids=dino_case_id)
def test_the_rule_for_official_names_gives_as_many_as_the_case_counts(case):
    skip_without({"state_dict_entries", "parameters"} <= case.keys(), f"The count of {case['name']}")
    names = official_dino_names(case)
    assert len(names) == case["state_dict_entries"]
    assert sum(math.prod(shape) for name, (shape, own) in names.items() if own == name) == case["parameters"]

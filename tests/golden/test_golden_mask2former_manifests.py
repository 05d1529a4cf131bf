"""Names and shapes of the official Mask2Former files against our models, without any values."""

from functools import lru_cache

import pytest
import torch
from detectron2.config import instantiate

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.config.lazy import list_recipes, load_recipe
from mask2former.model import Mask2Former
from tests.golden.cases import golden_dir, read_json, skip_without
from tests.golden.loading import check_shapes
from tests.golden.mask2former_cases import KIND, build, case_named, manifest, mask2former_cases
from tests.mask2former.building import build_mask2former

FOLDER = "manifests_official"
MODELS = read_json(KIND, f"{FOLDER}/models.json")
RECIPES = {name: name.rpartition("_")[0] for name in MODELS if name.rpartition("_")[0] in list_recipes()}


@lru_cache
def model_of(name: str) -> Mask2Former:
    """A model of the sizes that the manifest's description tells, and otherwise of the published ones."""
    about = MODELS[name]
    with torch.device("meta"):
        return build_mask2former(
            FocalNet(**about["backbone"]),
            num_classes=about["num_classes"],
            num_queries=about["num_queries"],
            layers=(6, 9),
            dims=(256, 256),
            num_heads=8,
            ffn_dims=(1024, 2048),
        )


@lru_cache
def model_of_recipe(name: str) -> Mask2Former:
    with torch.device("meta"):
        return instantiate(load_recipe(RECIPES[name]).model)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def assert_fits(model: Mask2Former, shapes: dict) -> None:
    """Strictly: no name is missing, none is left over but the weights of the class loss."""
    report = check_shapes(model, shapes)
    assert report.layout == "Mask2Former"
    assert not report.missing
    assert not report.resized
    assert set(report.loaded) == set(model.state_dict())
    assert set(report.skipped) == {"criterion.empty_weight"}
    assert len(report.loaded) + len(report.skipped) == len(shapes)


def test_every_manifest_is_described():
    skip_without((golden_dir(KIND) / FOLDER / "models.json").exists(), f"{FOLDER}/models.json")
    files = {path.stem for path in (golden_dir(KIND) / FOLDER).glob("*.json")}
    assert files == {*MODELS, "models"}


def test_recipes_of_panoptic_and_semantic_segmentation_have_their_manifests():
    skip_without(len(RECIPES) > 0, "A manifest of a recipe")
    assert {"large_fl3_coco_panoptic", "large_fl4_ade20k_semantic"} <= {
        recipe.removeprefix("mask2former_focalnet_") for recipe in RECIPES.values()
    }


@pytest.mark.parametrize("name", MODELS)
def test_official_file_fits_the_model_of_its_size(name):
    about, model, shapes = MODELS[name], model_of(name), manifest(f"{FOLDER}/{name}.json")
    assert_fits(model, shapes)
    assert len(shapes) == about["keys"]
    assert count(model) == about["parameters"]
    assert count(model.backbone) == about["backbone_parameters"]
    assert count(model.pixel_decoder) == about["pixel_decoder_parameters"]
    assert count(model.decoder) == about["predictor_parameters"]


@pytest.mark.parametrize("name", RECIPES)
def test_official_file_fits_its_recipe(name):
    model = model_of_recipe(name)
    assert_fits(model, manifest(f"{FOLDER}/{name}.json"))
    assert count(model) == MODELS[name]["parameters"]
    for flag in ("use_postln", "normalize_modulator"):  # no shape shows them
        assert getattr(model.backbone, flag) == MODELS[name]["backbone"][flag]


@pytest.mark.parametrize("file", sorted({case["manifest"] for case in mask2former_cases("full")}))
def test_manifest_of_the_cases_fits(file):
    case = next(case for case in mask2former_cases("full") if case["manifest"] == file)
    with torch.device("meta"):
        model = build(case_named(case["name"]))
    assert_fits(model, manifest(file))

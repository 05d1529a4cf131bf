"""A pipeline that is named by its file goes into the recipe of the run."""

import pytest

from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe, recipe_to_yaml
from focalnet_d2.engine.augmentation_files import keep_pipeline
from focalnet_d2.engine.channel_filling import set_channels

A = pytest.importorskip("albumentations")


def recipe_with(setting):
    return apply_overrides(load_recipe("dino_focalnet_mini_quickstart"), [setting])


def test_the_recipe_of_a_run_has_the_pipeline_and_needs_no_trust(tmp_path):
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.Affine(rotate=(-10, 10))])
    A.save(pipeline, tmp_path / "pipeline.yaml", data_format="yaml")
    recipe = recipe_with(f"dataloader.train.albumentations={tmp_path}/pipeline.yaml")
    keep_pipeline(recipe)
    (tmp_path / "pipeline.yaml").unlink()
    (tmp_path / "recipe.yaml").write_text(recipe_to_yaml(recipe))
    again = load_recipe(tmp_path / "recipe.yaml")
    names = [one["__class_fullname__"] for one in again.dataloader.train.albumentations.transform.transforms]
    assert names == ["HorizontalFlip", "Affine"]
    keep_pipeline(again)  # a run that goes on
    assert again == load_recipe(tmp_path / "recipe.yaml")


def test_a_pipeline_that_cannot_be_used_ends_the_start(tmp_path):
    A.save(A.Compose([A.MaskDropout()]), tmp_path / "pipeline.json")
    with pytest.raises(ValueError, match="MaskDropout of albumentations cannot be used"):
        keep_pipeline(recipe_with(f"dataloader.train.albumentations={tmp_path}/pipeline.json"))


def test_recipes_without_one_stay_as_they_are():
    recipe = load_recipe("dino_focalnet_mini_quickstart")
    keep_pipeline(recipe)
    assert recipe == load_recipe("dino_focalnet_mini_quickstart")


def test_a_file_is_named_where_its_content_cannot_be_used(tmp_path):
    (tmp_path / "pipeline.json").write_text('{"transform": {"__class_fullname__": "BasicTransform", "p": 1}}')
    with pytest.raises(ValueError, match=r"The file of augmentations .*pipeline\.json cannot be used"):
        keep_pipeline(recipe_with(f"dataloader.train.albumentations={tmp_path}/pipeline.json"))


def test_a_pipeline_is_refused_for_other_than_eight_bits_before_data_are_read(tmp_path):
    A.save(A.Compose([A.HorizontalFlip()]), tmp_path / "pipeline.json")
    recipe = recipe_with(f"dataloader.train.albumentations={tmp_path}/pipeline.json")
    numbers = {"stored": 2, "channels": [0, 1], "mean": [1.0, 2.0], "std": [1.0, 1.0], "rgb": []}
    set_channels(recipe, {"dtype": "uint8", **numbers})
    keep_pipeline(recipe)
    set_channels(recipe, {"dtype": "uint16", **numbers})
    with pytest.raises(RecipeError, match=r"albumentations changes images of 8 bits.*uint16: leave it out"):
        keep_pipeline(recipe)

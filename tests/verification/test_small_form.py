"""Recipes of full size are made small by settings that they take."""

import pytest
from omegaconf import OmegaConf

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.verification.small_form import paired_settings, small_settings


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "dino_focalnet_large_fl4_5scale_12ep",
            {"model.backbone.bottom_up.embed_dim": 16, "model.query_selection.num_queries": 12},
        ),
        ("mask2former_focalnet_tiny_lrf_coco_panoptic", {"model.decoder.num_layers": 2}),
        ("cascade_mask_rcnn_focalnet_tiny_lrf_3x", {"model.roi_heads.box_head.2.fc_dims": [64]}),
        ("classifier_focalnet_tiny_iso", {"model.backbone.depths": [1], "dataloader.test.mapper.transform.size": 64}),
        ("upernet_focalnet_tiny_lrf", {"dataloader.train.mapper.augmentations.0.size": 64}),
    ],
)  # fmt: skip
def test_a_published_recipe_becomes_small_and_keeps_what_is_random_in_it(name, expected):
    recipe = load_recipe(name)
    before = recipe.copy()
    apply_overrides(recipe, small_settings(recipe))
    for key, value in expected.items():
        assert OmegaConf.select(recipe, key) == value
    for key in ("optimizer", "lr_multiplier", "train.amp", "train.ema", "model.criterion.matcher"):
        assert OmegaConf.select(recipe, key) == OmegaConf.select(before, key)
    assert recipe.dataloader.train.total_batch_size == 2
    assert recipe.train.max_iter == 4
    apply_overrides(recipe, paired_settings(recipe))
    assert "drop_path_rate': 0.2" not in str(recipe.model)


def test_what_is_small_already_stays():
    recipe = load_recipe("dino_focalnet_mini_quickstart")
    recipe.model.num_select, recipe.model.query_selection.num_queries = 5, 6
    keys = {one.partition("=")[0] for one in small_settings(recipe)}
    assert "model.backbone.bottom_up.embed_dim" in keys
    assert not keys & {"model.num_select", "model.query_selection.num_queries", "model.encoder.num_points"}


def test_a_batch_has_an_image_for_each_part():
    recipe = load_recipe("classifier_focalnet_mini_folder")
    recipe.train.accumulation = 3
    assert "dataloader.train.total_batch_size=6" in small_settings(recipe)

"""Recipes of UPerNet: the settings it was published with, and the small one."""

import pytest
from detectron2.config import instantiate

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.data.mappers import SemanticSegMapper
from focalnet_d2.data.segmentation_transforms import mmseg_crop
from focalnet_d2.inference.tta import SemanticTTA
from tests.recipes import RECIPES, meta_model, rates_and_decays, recipe_named

NAMES = [name for name in RECIPES if name.startswith("upernet_")]
SHEET = {  # parameters, and in millions those the paper prints
    "upernet_focalnet_tiny_srf": (60_822_512, 61),
    "upernet_focalnet_tiny_lrf": (61_573_244, 61),
    "upernet_focalnet_small_srf": (83_060_756, 83),
    "upernet_focalnet_small_lrf": (84_594_860, 84),
    "upernet_focalnet_base_srf": (123_681_012, 124),
    "upernet_focalnet_base_lrf": (125_726_476, 126),
    "upernet_focalnet_tiny_deeper_srf": (55_114_423, 55),
    "upernet_focalnet_small_deeper_srf": (68_766_308, 69),
    "upernet_focalnet_base_deeper_srf": (117_314_756, 117),
}


def test_every_published_model_has_a_recipe():
    assert {*SHEET, "upernet_focalnet_mini_ade20k"} == set(NAMES)


@pytest.mark.parametrize(("name", "numbers"), SHEET.items())
def test_number_of_parameters(name, numbers):
    exact, millions = numbers
    assert sum(parameter.numel() for parameter in meta_model(name).parameters()) == exact
    assert abs(exact / 1e6 - millions) < 0.7


@pytest.mark.parametrize("name", SHEET)
def test_published_settings(name):
    recipe = recipe_named(name)
    optimizer, train, backbone = recipe.optimizer, recipe.train, recipe.model.backbone
    assert (optimizer.lr, optimizer.weight_decay, optimizer.decay_rule) == (6e-5, 0.01, "mmdetection")
    assert tuple(optimizer.betas) == (0.9, 0.999)
    assert (train.max_iter, train.clip_norm, train.amp, train.ema.enabled) == (160_000, 0, "off", False)
    assert train.best_metric == "sem_seg/mIoU"
    assert recipe.dataloader.train.total_batch_size == 16
    assert tuple(backbone.focal_windows) == (9, 9, 9, 9)
    assert tuple(backbone.focal_levels) == ((3,) * 4 if "_lrf" in name else (2,) * 4)
    assert backbone.drop_path_rate == 0.3
    assert (recipe.model.num_classes, recipe.model.auxiliary_weight, recipe.model.train_size) == (150, 0.4, 512)


@pytest.mark.parametrize("name", SHEET)
def test_data_and_augmentation(name):
    loaders = recipe_named(name).dataloader
    assert (loaders.train.dataset.names, loaders.test.dataset.names) == ("ade20k_sem_seg_train", "ade20k_sem_seg_val")
    assert loaders.train.mapper._target_ is loaders.test.mapper._target_ is SemanticSegMapper
    assert (loaders.train.mapper.is_train, loaders.test.mapper.is_train) == (True, False)
    (crop,), (resize,) = loaders.train.mapper.augmentations, loaders.test.mapper.augmentations
    assert (crop._target_, crop.size) == (mmseg_crop, 512)
    assert (resize.short_edge_length, resize.max_size) == (512, 2048)
    assert loaders.train.mapper.num_classes == loaders.test.mapper.num_classes == 150


@pytest.mark.parametrize("name", SHEET)
def test_scales_of_the_published_test_time_augmentation(name):
    augmentation = recipe_named(name).train.test_time_augmentation
    assert (augmentation.enabled, augmentation.wrapper._target_) == (False, SemanticTTA)
    assert [side / 512 for side in augmentation.wrapper.short_sides] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert augmentation.wrapper.flip


def test_rate_warms_up_and_falls_in_a_line():
    recipe = recipe_named("upernet_focalnet_tiny_srf")
    multiplier = instantiate(recipe.lr_multiplier)
    factors = [multiplier(iteration / recipe.train.max_iter) for iteration in (0, 750, 1500, 80_000, 159_999)]
    first = 1 - 1500 / 160_000  # the line is followed during the warm-up, too
    assert factors == pytest.approx([1e-6, first / 2, first, 0.5, 0], abs=5e-3)


def test_norms_of_the_backbone_alone_do_not_decay():
    exempt = {key for key, _, decay in rates_and_decays("upernet_focalnet_tiny_srf") if decay == 0}
    assert {
        "backbone.norm0.weight",
        "backbone.layers.0.blocks.0.norm1.bias",
        "backbone.patch_embed.norm.bias",
    } <= exempt
    assert not [key for key in exempt if "head" in key]


def test_windows_and_widths_are_settings():
    overrides = ["model.inference.window=512", "model.decode_head.dim=16", "model.backbone.embed_dim=8"]
    recipe = apply_overrides(load_recipe("upernet_focalnet_mini_ade20k"), overrides)
    model = instantiate(recipe.model)
    assert model.inference.windows((512, 853))[1] == (slice(0, 512), slice(341, 853))
    assert model.decode_head.bottleneck.conv.in_channels == 64 + 4 * 16
    assert model.auxiliary_head.convs[0].conv.in_channels == 32

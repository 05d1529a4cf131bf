"""Settings of the classifiers, from the paper's tables 18 and 19 and the sizes of the released files."""

import pytest
from detectron2.config import instantiate

from focalnet_d2.checkpoint import check_checkpoint
from tests.checkpoint.building import on_meta
from tests.golden.cases import read_json
from tests.recipes import RECIPES, meta_model, rates_and_decays, recipe_named

PREFIX = "classifier_focalnet_"
NAMES = [name for name in RECIPES if name.startswith(PREFIX) and "_mini_" not in name]
FROM_SCRATCH = [name for name in NAMES if "_22k" not in name]
FINE_TUNED = [name for name in NAMES if "_22k_to_1k_" in name]
RELEASED_22K = [name for name in NAMES if name not in FROM_SCRATCH + FINE_TUNED]
PARAMETERS = {
    "tiny_srf": 28_427_116,
    "tiny_lrf": 28_647_928,
    "small_srf": 49_891_216,
    "small_lrf": 50_342_440,
    "base_srf": 88_148_144,
    "base_lrf": 88_749_768,
    "tiny_iso": 5_880_280,
    "small_iso": 22_376_344,
    "base_iso": 87_237_400,
    "large_fl3_22k_384": 239_134_898,
    "large_fl4_22k_384": 239_315_402,
    "xlarge_fl3_22k_384": 408_787_378,
    "xlarge_fl4_22k_384": 409_028_042,
    "huge_fl3_22k_224": 745_276_338,
    "huge_fl4_22k_224": 747_989_578,
}
DROP_PATH = {
    "tiny_srf": 0.2,
    "tiny_lrf": 0.2,
    "tiny_srf_conv_embed": 0.2,
    "small_srf": 0.3,
    "small_lrf": 0.3,
    "base_srf": 0.5,
    "base_lrf": 0.5,
    "tiny_iso": 0.2,
    "small_iso": 0.2,
    "base_iso": 0.3,
}


def released_file(size: str) -> dict:
    """Names and shapes of a released file, without values."""
    return on_meta(read_json("focalnet", f"manifests_classification/focalnet_{size}.json")["model"])


@pytest.mark.parametrize(("variant", "count"), PARAMETERS.items())
def test_parameters_are_those_of_the_released_network(variant, count):
    assert sum(parameter.numel() for parameter in meta_model(PREFIX + variant).parameters()) == count


def test_overlapping_patches_give_the_published_millions():
    model = meta_model("classifier_focalnet_tiny_srf_conv_embed")
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 30.4


@pytest.mark.parametrize("variant", [variant for variant in PARAMETERS if "iso" not in variant])
def test_the_released_file_fits_its_recipe(variant):
    size = variant.partition("_22k")[0]
    model = meta_model(PREFIX + variant)
    report = check_checkpoint(model, released_file(size))
    assert (report.layout, report.missing, report.skipped) == ("Microsoft classification", [], {})
    assert bool(report.notes) == (size == "xlarge_fl4")


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_training_from_scratch_is_that_of_table_18(name):
    recipe = recipe_named(name)
    assert (recipe.train.max_iter, recipe.dataloader.train.total_batch_size) == (300 * (1_281_167 // 1024), 1024)
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay, recipe.train.clip_norm) == (1e-3, 0.05, 5.0)
    assert tuple(recipe.optimizer.betas) == (0.9, 0.999)
    assert recipe.model.backbone.drop_path_rate == DROP_PATH[name.removeprefix(PREFIX)]
    assert dict(instantiate(recipe.model.mixing).options) == dict(
        mixup_alpha=0.8, cutmix_alpha=0.8, prob=1.0, switch_prob=0.5
    )
    assert recipe.model.label_smoothing == 0.1
    augmentation = recipe.dataloader.train.mapper.transform
    assert (augmentation.size, augmentation.auto_augment) == (224, "rand-m9-mstd0.5-inc1")
    assert (augmentation.color_jitter, augmentation.erase_prob) == (0.4, 0.25)
    assert not recipe.train.ema.enabled


def test_the_rate_rises_for_20_epochs_and_falls_to_a_hundredth():
    multiplier = instantiate(recipe_named("classifier_focalnet_tiny_srf").lr_multiplier)
    assert multiplier(0) == pytest.approx(1e-3)
    assert multiplier(20 / 300) == pytest.approx(1.0, abs=0.02)
    assert multiplier(1 - 1e-9) == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize("name", ["classifier_focalnet_tiny_srf", "classifier_focalnet_base_iso"])
def test_vectors_and_biases_do_not_decay(name):
    parameters = dict(meta_model(name).named_parameters())
    for key, _, decay in rates_and_decays(name):
        assert decay == (0.05 if parameters[key].ndim > 1 else 0.0), key


@pytest.mark.parametrize("name", FINE_TUNED)
def test_fine_tuning_is_that_of_table_19(name):
    recipe = recipe_named(name)
    assert (recipe.train.max_iter, recipe.dataloader.train.total_batch_size) == (30 * (1_281_167 // 1024), 1024)
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay) == (3e-5, 1e-8)
    assert recipe.optimizer.lr * instantiate(recipe.lr_multiplier)(1.0) == pytest.approx(5e-6)
    assert recipe.model.backbone.drop_path_rate == 0.3
    assert recipe.model.mixing is None
    assert recipe.model.num_classes == 1000


def test_a_released_22k_head_starts_the_fine_tuning():
    for side in (224, 384):
        model = meta_model(f"classifier_focalnet_large_fl3_22k_to_1k_{side}")
        report = check_checkpoint(model, released_file("large_fl3"))
        assert not report.missing
        assert report.notes == ["1000 of the file's 21842 class rows are taken"]


@pytest.mark.parametrize("name", NAMES)
def test_image_sizes_and_classes_that_count(name):
    recipe = recipe_named(name)
    size = 384 if name.endswith("_384") else 224
    assert recipe.dataloader.test.mapper.transform.size == recipe.dataloader.train.mapper.transform.size == size
    assert instantiate(recipe.dataloader.test.mapper).transform.transforms[0].size == {224: 256, 384: 438}[size]
    is_22k = name in RELEASED_22K
    assert recipe.model.num_classes == (21842 if is_22k else 1000)
    assert recipe.dataloader.evaluator.first_classes == (1000 if is_22k else None)

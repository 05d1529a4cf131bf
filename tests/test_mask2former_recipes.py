"""Recipes of Mask2Former: the settings it was published with, task by task, and the small ones."""

import pytest
import torch
from detectron2.config import instantiate
from detectron2.data import MetadataCatalog

from focalnet_d2.checkpoint import checkpoint_metadata, load_checkpoint, save_weights
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from focalnet_d2.data.generated.styles import STUFF, STYLES
from focalnet_d2.data.mappers import InstanceMapper, PanopticMapper, SemanticMaskMapper
from focalnet_d2.data.segmentation_transforms import ade_crop, lsj
from tests.recipes import RECIPES, evaluators, meta_model, rates_and_decays, recipe_named

NAMES = [name for name in RECIPES if name.startswith("mask2former_")]
PUBLISHED = [name for name in NAMES if "_mini_" not in name]

# training and test data, augmentation, image sizes (training, shorter and longer side in tests), results, classes
COCO_TEST, COCO_SIZES, ADE_SIZES = "coco_2017_val_panoptic_with_sem_seg", (1024, 800, 1333), (640, 640, 2560)
ALL = ("semantic", "panoptic", "instance")
TASKS = {
    "coco_panoptic": ("coco_2017_train_panoptic", COCO_TEST, PanopticMapper, lsj, COCO_SIZES, ALL, 133),
    "coco_instance": ("coco_2017_train", "coco_2017_val", InstanceMapper, lsj, COCO_SIZES, ("instance",), 80),
    "ade20k_semantic": (
        "ade20k_sem_seg_train", "ade20k_sem_seg_val", SemanticMaskMapper, ade_crop, ADE_SIZES, ("semantic",), 150,
    ),
    "ade20k_panoptic": (
        "ade20k_panoptic_train", "ade20k_panoptic_val", PanopticMapper, ade_crop, ADE_SIZES, ALL, 150,
    ),
    "ade20k_instance": (
        "ade20k_instance_train", "ade20k_instance_val", InstanceMapper, ade_crop, ADE_SIZES, ALL, 100,
    ),
}  # fmt: skip
METRICS = {"panoptic": "panoptic_seg/PQ", "instance": "segm/AP", "semantic": "sem_seg/mIoU"}
SHEET = {  # parameters
    "mask2former_focalnet_large_fl3_coco_panoptic": 225_900_838,
    "mask2former_focalnet_large_fl3_ade20k_semantic": 225_854_007,
    "mask2former_focalnet_large_fl4_coco_panoptic": 226_081_342,
    "mask2former_focalnet_large_fl4_ade20k_semantic": 226_034_511,
}


def task_of(name: str) -> str:
    return "_".join(name.split("_")[-2:])


@pytest.mark.parametrize("name", PUBLISHED)
def test_data_and_results_of_the_task(name):
    recipe = recipe_named(name)
    training, test, mapper, augmentation, sizes, results, classes = TASKS[task_of(name)]
    if name.endswith(("tiny_lrf_ade20k_semantic", "small_lrf_ade20k_semantic")):
        sizes = (512, 512, 2048)
    loaders = recipe.dataloader
    assert (loaders.train.dataset.names, loaders.test.dataset.names) == (training, test)
    assert loaders.train.mapper._target_ is loaders.test.mapper._target_ is mapper
    assert (loaders.train.mapper.is_train, loaders.test.mapper.is_train) == (True, False)
    (augmented,), (resized,) = loaders.train.mapper.augmentations, loaders.test.mapper.augmentations
    assert augmented._target_ is augmentation
    assert (augmented.size, resized.short_edge_length, resized.max_size) == sizes
    assert loaders.train.dataset.filter_empty == name.endswith("instance")
    assert tuple(task for task in ALL if recipe.model.inference[task] is not None) == results
    assert recipe.model.num_classes == classes
    assert recipe.train.best_metric == METRICS[name.split("_")[-1]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name):
    recipe = recipe_named(name)
    large, ade = "_large_" in name, "ade20k" in name
    assert recipe.dataloader.train.total_batch_size == 16
    assert recipe.model.decoder.num_queries == (200 if large and not name.endswith("semantic") else 100)
    assert recipe.model.backbone.drop_path_rate == 0.3
    assert recipe.train.max_iter == (160_000 if ade else 737_500 if large else 368_750)
    assert (recipe.train.clip_norm, recipe.train.amp, recipe.train.eval_period) == (0.01, "auto", 5000)
    assert not recipe.train.ema.enabled
    optimizer = recipe.optimizer
    assert (optimizer.lr, optimizer.weight_decay, optimizer.decay_rule) == (1e-4, 0.05, "mask2former")
    inference = recipe.model.inference
    if inference.panoptic is not None:
        assert (inference.panoptic.object_mask_threshold, inference.panoptic.overlap_threshold) == (0.8, 0.8)
    if inference.instance is not None:
        assert inference.instance.top_k == 100


@pytest.mark.parametrize(("name", "steps"), [("tiny_lrf", (327_778, 355_092)), ("large_fl3", (655_556, 710_184))])
def test_rate_drops_at_the_published_iterations(name, steps):
    recipe = load_recipe(f"mask2former_focalnet_{name}_coco_panoptic")
    multiplier = instantiate(recipe.lr_multiplier)
    factors = [multiplier(i / recipe.train.max_iter) for step in steps for i in (step - 1, step)]
    assert factors == [1.0, 0.1, 0.1, 0.01]


def test_rate_falls_polynomially_on_ade20k():
    multiplier = instantiate(load_recipe("mask2former_focalnet_tiny_lrf_ade20k_semantic").lr_multiplier)
    assert multiplier(0.5) == pytest.approx(0.5**0.9)
    assert multiplier(1.0) == 0.0


@pytest.mark.parametrize("name", SHEET)
def test_number_of_parameters(name):
    assert sum(parameter.numel() for parameter in meta_model(name).parameters()) == SHEET[name]


@pytest.mark.parametrize("name", NAMES)
def test_strides_of_the_backbone(name):
    assert [shape.stride for shape in meta_model(name).backbone.output_shape().values()] == [4, 8, 16, 32]


def test_norms_and_embeddings_do_not_decay():
    exempt = {key for key, _, decay in rates_and_decays("mask2former_focalnet_large_fl4_coco_panoptic") if decay == 0}
    assert {"decoder.query_feat.weight", "decoder.query_embed.weight", "decoder.level_embed.weight"} <= exempt
    assert {"backbone.norm0.weight", "pixel_decoder.lateral.norm.bias", "decoder.layers.0.ffn_norm.weight"} <= exempt
    assert "pixel_decoder.level_embed" not in exempt
    assert {"backbone.layers.0.blocks.0.gamma_1", "decoder.class_embed.bias"}.isdisjoint(exempt)


@pytest.mark.parametrize("name", PUBLISHED)
def test_classes_and_things_are_those_of_the_data_set(name):
    recipe = recipe_named(name)
    metadata = MetadataCatalog.get(recipe.dataloader.test.dataset.names)
    assert len(metadata.get("stuff_classes") or metadata.thing_classes) == recipe.model.num_classes
    if recipe.model.inference.instance is not None:
        assert sorted(metadata.thing_dataset_id_to_contiguous_id.values()) == list(recipe.model.inference.thing_ids)


@pytest.mark.parametrize(
    ("name", "things"),
    [
        ("mini_quickstart", len(STYLES["day"].classes)),
        ("mini_demo", recipe_named("dino_focalnet_mini_demo").model.num_classes),  # both learn the same images
    ],
)
def test_classes_and_things_of_the_generated_images(name, things):
    model = recipe_named(f"mask2former_focalnet_{name}").model
    assert model.num_classes == things + len(STUFF)
    assert list(model.inference.thing_ids) == list(range(things))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("ade20k_semantic", "mini_ade20k"))])
def test_scales_of_the_published_test_time_augmentation(name):
    recipe = recipe_named(name)
    augmentation, size = recipe.train.test_time_augmentation, recipe.dataloader.test.mapper.augmentations[0]
    assert not augmentation.enabled
    scales = [side / size.short_edge_length for side in augmentation.wrapper.short_sides]
    assert scales == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert augmentation.wrapper.max_size == 7 * size.short_edge_length
    assert augmentation.wrapper.flip


def test_nuclei_have_room_for_125_objects():
    recipe = load_recipe("mask2former_focalnet_mini_nuclei")
    top_k = recipe.model.inference.instance.top_k
    assert recipe.model.decoder.num_queries >= top_k >= 125
    (evaluator,) = evaluators(recipe.dataloader.evaluator)
    assert evaluator.max_dets >= top_k


def test_fewer_queries_than_wanted_instances_are_refused():
    recipe = apply_overrides(load_recipe("mask2former_focalnet_mini_nuclei"), ["model.decoder.num_queries=50"])
    with torch.device("meta"), pytest.raises(ValueError, match=r"top_k 200 .* 50 queries"):
        instantiate(recipe.model)


def test_one_width_changes_the_whole_model():
    overrides = ["model.pixel_decoder.dim=64", "model.pixel_decoder.position_embedding.num_feats=32"]
    recipe = apply_overrides(load_recipe("mask2former_focalnet_mini_quickstart"), overrides)
    with torch.device("meta"):
        model = instantiate(recipe.model)
    assert model.decoder.query_feat.weight.shape == (50, 64)
    assert model.decoder.position_embedding.num_feats == 32
    assert model.pixel_decoder.encoder.layers[0].linear1.in_features == 64


def test_a_decoder_may_have_a_width_of_its_own():
    """The official option whose files have `sem_seg_head.predictor.input_proj`."""
    overrides = ["model.decoder.dim=64", "model.decoder.position_embedding.num_feats=32"]
    with torch.device("meta"):
        model = instantiate(apply_overrides(load_recipe("mask2former_focalnet_mini_nuclei"), overrides).model)
    assert model.pixel_decoder.level_embed.shape[1] == model.decoder.in_dim == 128
    assert [tuple(conv.weight.shape) for conv in model.decoder.input_proj] == [(64, 128, 1, 1)] * 3
    with pytest.raises(ValueError, match=r"set model\.decoder\.position_embedding\.num_feats=32"):
        instantiate(apply_overrides(load_recipe("mask2former_focalnet_mini_nuclei"), overrides[:1]).model)
    with pytest.raises(ValueError, match=r"decoder\.in_dim is 64, but pixel_decoder\.dim is 128"):
        instantiate(apply_overrides(load_recipe("mask2former_focalnet_mini_nuclei"), ["model.decoder.in_dim=64"]).model)


def test_results_can_be_switched_off_but_not_all():
    name = "mask2former_focalnet_mini_quickstart"
    recipe = apply_overrides(load_recipe(name), ["model.inference.semantic=null", "model.inference.panoptic=null"])
    with torch.device("meta"):
        assert instantiate(recipe.model).inference.semantic is None
    with pytest.raises(RecipeError, match="group of settings"):
        apply_overrides(load_recipe(name), ["model.inference.semantic=off"])


def test_weights_of_a_recipe_come_back(tmp_path):
    name = "mask2former_focalnet_mini_quickstart"
    file, model = (instantiate(recipe_named(name).model) for _ in range(2))
    save_weights(tmp_path / "m.safetensors", file, checkpoint_metadata(file))
    report = load_checkpoint(model, tmp_path / "m.safetensors", complete=True)
    assert (report.missing, report.notes) == ([], [])
    wanted = file.state_dict()
    assert all(value.equal(wanted[key]) for key, value in model.state_dict().items())

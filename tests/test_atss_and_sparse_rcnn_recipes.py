"""Recipes of ATSS and Sparse R-CNN: the settings they were published with, and the small ones."""

import numpy as np
import pytest
from detectron2.config import instantiate

from focalnet_d2.set_prediction.box_metric import XyxyBoxMetric
from tests.recipes import RECIPES, meta_model, rates_and_decays, recipe_named

PARAMETERS = {
    "atss_focalnet_tiny_srf_3x": 36_521_310,
    "atss_focalnet_tiny_lrf_3x": 37_209_066,
    "sparse_rcnn_focalnet_tiny_srf_3x": 110_528_108,
    "sparse_rcnn_focalnet_tiny_lrf_3x": 111_215_864,
}
SPARSE = [name for name in PARAMETERS if name.startswith("sparse")]
ATSS = [name for name in PARAMETERS if name.startswith("atss")]


def test_the_recipes_are_these_and_two_small_ones():
    found = {name for name in RECIPES if name.startswith(("atss_", "sparse_rcnn_"))}
    assert found == {*PARAMETERS, "atss_focalnet_mini_coco", "sparse_rcnn_focalnet_mini_coco"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    assert sum(value.numel() for value in meta_model(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_backbone(name):
    focalnet = meta_model(name).backbone.bottom_up
    levels = 2 if "srf" in name else 3
    assert (focalnet.focal_levels, focalnet.focal_windows) == ((levels,) * 4, (11, 9, 9, 7))
    kernel = focalnet.layers[0].blocks[0].modulation.focal_layers[levels - 1][0].kernel_size
    assert kernel == ((13, 13) if levels == 2 else (15, 15))
    assert focalnet.layers[-1].blocks[-1].drop_path.p == pytest.approx(0.3)
    assert recipe_named(name).model.num_classes == 80


@pytest.mark.parametrize("name", PARAMETERS)
def test_schedule_of_36_epochs(name):
    recipe = recipe_named(name)
    multiplier, iterations = instantiate(recipe.lr_multiplier), recipe.train.max_iter
    epoch = iterations // 36
    assert epoch == 7330
    assert recipe.dataloader.train.total_batch_size == 16
    assert multiplier(0) == pytest.approx(0.001)
    assert multiplier(500 / iterations) == 1.0
    assert [multiplier((step * epoch + 1) / iterations) for step in (26, 27, 33)] == pytest.approx([1, 0.1, 0.01])


@pytest.mark.parametrize("name", PARAMETERS)
def test_data(name):
    loaders = recipe_named(name).dataloader
    assert (loaders.train.dataset.names, loaders.test.dataset.names) == ("coco_2017_train", "coco_2017_val")
    assert loaders.train.dataset.filter_empty
    (resize,) = loaders.test.mapper.augmentations
    assert (resize.short_edge_length, resize.max_size) == (800, 1333)
    augmentation = instantiate(loaders.train.mapper.augmentations[0])
    before_crop = augmentation.cropped.augs[1]
    assert (before_crop.short_edge_length, before_crop.max_size) == ((400, 500, 600), 1333)
    transform = before_crop.get_transform(np.zeros((100, 900, 3), np.uint8))
    assert max(transform.new_h, transform.new_w) == 1333


@pytest.mark.parametrize("name", ATSS)
def test_atss_trains_as_published(name):
    recipe = recipe_named(name)
    assert (recipe.optimizer.lr, recipe.train.clip_norm, recipe.train.amp) == (1e-4, 0.0, "auto")
    decays = {key: decay for key, _, decay in rates_and_decays(name)}
    assert decays["bbox_head.cls_convs.0.gn.weight"] == 0.05  # called gn there, so it decays
    assert decays["backbone.bottom_up.norm1.weight"] == 0.0
    model = meta_model(name)
    settings = (model.score_threshold, model.nms_threshold, model.candidates_per_level, model.max_detections)
    assert settings == (0.05, 0.6, 1000, 100)
    criterion = model.criterion
    assert (criterion.class_weight, criterion.bbox_weight, criterion.centerness_weight) == (1.0, 2.0, 1.0)
    assert (criterion.alpha, criterion.gamma) == (0.25, 2.0)
    assert model.strides == [8, 16, 32, 64, 128]


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_rcnn_trains_as_published(name):
    recipe, model = recipe_named(name), meta_model(name)
    assert (recipe.optimizer.lr, recipe.train.clip_norm, recipe.train.amp) == (2.5e-5, 1.0, "off")
    assert {(rate, decay) for _, rate, decay in rates_and_decays(name)} == {(2.5e-5, 1e-4)}
    assert (model.head.num_proposals, len(model.head.stages), model.num_select) == (300, 6, 300)
    for weights in (model.criterion, model.criterion.matcher):
        assert (weights.class_weight, weights.bbox_weight, weights.giou_weight) == (2.0, 5.0, 2.0)
        assert (weights.alpha, weights.gamma) == (0.25, 2.0)
    assert isinstance(model.criterion.matcher.box_metric, XyxyBoxMetric)
    poolers = model.head.pooler.level_poolers
    assert [(p.output_size, p.sampling_ratio, p.aligned) for p in poolers] == [((7, 7), 2, True)] * 4
    assert [p.spatial_scale for p in poolers] == [1 / 4, 1 / 8, 1 / 16, 1 / 32]


@pytest.mark.parametrize("name", ["atss_focalnet_mini_coco", "sparse_rcnn_focalnet_mini_coco"])
def test_small_recipes_evaluate_what_they_train_on(name):
    loaders, model = recipe_named(name).dataloader, meta_model(name)
    assert loaders.train.dataset.names == loaders.test.dataset.names
    assert loaders.train.dataset.limit == loaders.test.dataset.limit == 8
    assert sum(value.numel() for value in model.parameters()) < 10e6

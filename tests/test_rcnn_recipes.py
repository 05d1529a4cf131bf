"""Recipes of Mask R-CNN and Cascade Mask R-CNN: the settings of the paper's tables, and what mmdetection adds."""

import pytest
from detectron2.config import instantiate
from detectron2.data import transforms as T

from focalnet_d2.data.mappers import BoxAndMaskMapper
from focalnet_d2.data.transforms import detr_800
from tests.recipes import RECIPES, meta_model, rates_and_decays, recipe_named

NAMES = [name for name in RECIPES if name.startswith(("mask_rcnn_", "cascade_mask_rcnn_"))]
PUBLISHED = [name for name in NAMES if "_mini_" not in name]
PARAMETERS = {
    "mask_rcnn_focalnet_tiny_srf_1x": 48_675_252,
    "mask_rcnn_focalnet_tiny_lrf_1x": 49_425_984,
    "mask_rcnn_focalnet_small_srf_3x": 70_913_496,
    "mask_rcnn_focalnet_small_lrf_3x": 72_447_600,
    "mask_rcnn_focalnet_base_srf_1x": 109_543_096,
    "mask_rcnn_focalnet_base_lrf_3x": 111_588_560,
    "mask_rcnn_focalnet_tiny_deeper_lrf_1x": 46_013_204,
    "mask_rcnn_focalnet_small_deeper_lrf_1x": 60_307_024,
    "mask_rcnn_focalnet_base_deeper_lrf_1x": 107_713_456,
    "cascade_mask_rcnn_focalnet_tiny_srf_3x": 86_416_758,
    "cascade_mask_rcnn_focalnet_tiny_lrf_3x": 87_104_514,
}
DEPTHS = ((2, 2, 6, 2), (2, 2, 18, 2), (2, 2, 18, 2))  # tiny, small, base
DEEPER_DEPTHS = ((3, 3, 16, 3), (4, 4, 28, 4), (4, 4, 28, 4))
DROP_PATH = {
    "1x": (0.1, 0.2, 0.3),
    "3x": (0.3, 0.5, 0.5),
    "deeper_1x": (0.2, 0.2, 0.3),
    "deeper_3x": (0.3, 0.5, 0.5),  # not stated; that of the plain networks
}


def is_cascade(name: str) -> bool:
    return name.startswith("cascade")


def test_every_row_of_the_tables_is_there():
    sizes = [f"{size}_{levels}" for size in ("tiny", "small", "base") for levels in ("srf", "lrf")]
    deeper = [size.replace("_", "_deeper_") for size in sizes]
    expected = {f"mask_rcnn_focalnet_{size}_{schedule}" for size in sizes for schedule in ("1x", "3x")}
    expected |= {f"mask_rcnn_focalnet_{size}_1x" for size in deeper}
    expected |= {f"mask_rcnn_focalnet_{size}_3x" for size in deeper if size.endswith("srf")}
    expected |= {f"cascade_mask_rcnn_focalnet_tiny_{levels}_3x" for levels in ("srf", "lrf")}
    assert set(PUBLISHED) == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_backbone(name):
    backbone, words = recipe_named(name).model.backbone.bottom_up, name.split("_")
    schedule = ("deeper_" if "deeper" in words else "") + words[-1]
    size = ("tiny", "small", "base").index(next(word for word in words if word in ("tiny", "small", "base")))
    assert backbone.drop_path_rate == DROP_PATH[schedule][size]
    assert tuple(backbone.focal_windows) == ((11, 9, 9, 7) if is_cascade(name) else (9, 9, 9, 9))
    assert set(backbone.focal_levels) == {2 if "srf" in words else 3}
    assert tuple(backbone.depths) == (DEEPER_DEPTHS if "deeper" in words else DEPTHS)[size]
    assert tuple(meta_model(name).backbone.bottom_up.out_features) == ("res2", "res3", "res4", "res5")


@pytest.mark.parametrize("name", PUBLISHED)
def test_schedule_and_optimizer(name):
    recipe = recipe_named(name)
    epochs = 12 if name.endswith("1x") else 36
    assert recipe.train.max_iter == epochs * 7330
    multiplier = instantiate(recipe.lr_multiplier)
    for milestone, after in ((epochs * 3 // 4, 0.1), (epochs * 11 // 12, 0.01)):
        around = [multiplier((milestone * 7330 + step) / recipe.train.max_iter) for step in (-1, 1)]
        assert around == pytest.approx([10 * after, after])
    assert multiplier(0) == pytest.approx(0.001)
    assert multiplier(250 / recipe.train.max_iter) == pytest.approx(0.5005, abs=1e-4)
    optimizer = recipe.optimizer
    assert (optimizer.lr, optimizer.weight_decay, tuple(optimizer.betas)) == (1e-4, 0.05, (0.9, 0.999))
    assert (optimizer.decay_rule, optimizer.lr_factor) == ("mmdetection", None)
    assert (recipe.train.clip_norm, recipe.train.amp, recipe.train.ema.enabled) == (0.0, "auto", False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_data(name):
    train, test = recipe_named(name).dataloader.train, recipe_named(name).dataloader.test
    assert (train.dataset.names, test.dataset.names) == ("coco_2017_train", "coco_2017_val")
    assert train.dataset.filter_empty
    assert train.total_batch_size == 16
    assert train.mapper._target_ is test.mapper._target_ is BoxAndMaskMapper
    (augmentation,), (resize,) = train.mapper.augmentations, test.mapper.augmentations
    assert augmentation._target_ is detr_800
    assert augmentation.bound_before_crop
    assert (resize._target_, resize.short_edge_length, resize.max_size) == (T.ResizeShortestEdge, 800, 1333)
    evaluator = recipe_named(name).dataloader.evaluator
    assert tuple(evaluator.tasks) == ("bbox", "segm")
    assert evaluator.max_dets == 100


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    assert sum(parameter.numel() for parameter in meta_model(name).parameters()) == PARAMETERS[name]


@pytest.fixture(params=["mask_rcnn_focalnet_tiny_srf_1x", "cascade_mask_rcnn_focalnet_tiny_lrf_3x"])
def published(request):
    """A name and its model without values."""
    return request.param, meta_model(request.param)


def test_anchors_and_proposals(published):
    name, model = published
    proposals, cascade = model.proposal_generator, is_cascade(name)
    assert proposals.anchor_generator.offset == 0
    assert list(proposals.anchor_generator.strides) == [4, 8, 16, 32, 64]
    node = recipe_named(name).model.proposal_generator
    assert [list(sizes) for sizes in node.anchor_generator.sizes] == [[32], [64], [128], [256], [512]]
    assert list(node.anchor_generator.aspect_ratios) == [0.5, 1.0, 2.0]
    matcher = proposals.anchor_matcher
    assert (matcher.positive, matcher.negative, matcher.best_from) == (0.7, 0.3, 0.3)
    assert (proposals.batch_size_per_image, proposals.positive_fraction) == (256, 0.5)
    assert (proposals.pre_nms_topk[True], proposals.pre_nms_topk[False]) == (2000, 1000)
    assert (proposals.post_nms_topk[True], proposals.post_nms_topk[False]) == (2000 if cascade else 1000, 1000)
    assert (proposals.nms_thresh, proposals.smooth_l1_beta) == (0.7, 1 / 9 if cascade else 0.0)
    assert proposals.anchor_boundary_thresh == (0.0 if cascade else -1.0)
    assert proposals.box2box_transform.weights == (1.0, 1.0, 1.0, 1.0)


def test_regions_and_thresholds(published):
    name, model = published
    heads, cascade = model.roi_heads, is_cascade(name)
    for pooler, size in ((heads.box_pooler, 7), (heads.mask_pooler, 14)):
        assert pooler.output_size == (size, size)
        assert [level.spatial_scale for level in pooler.level_poolers] == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
        assert {(level.sampling_ratio, level.aligned) for level in pooler.level_poolers} == {(0, True)}
        assert (pooler.canonical_box_size, pooler.canonical_level) == (224, 4)
    predictors = list(heads.box_predictor) if cascade else [heads.box_predictor]
    for predictor in predictors:
        found = (predictor.test_score_thresh, predictor.test_nms_thresh, predictor.test_topk_per_image)
        assert found == (0.05, 0.5, 100)
        assert predictor.cls_score.weight.shape[0] == 81
        assert predictor.bbox_pred.weight.shape[0] == 320
    stds = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
    for predictor, std in zip(predictors, stds):
        assert predictor.box2box_transform.weights == pytest.approx([1 / value for value in std])


def test_what_only_one_of_them_has():
    plain = meta_model("mask_rcnn_focalnet_tiny_srf_1x").roi_heads
    matcher = plain.proposal_matcher
    assert (matcher.positive, matcher.negative, matcher.best_from) == (0.5, 0.5, 0.5)
    assert (plain.batch_size_per_image, plain.positive_fraction) == (512, 0.25)
    assert (plain.box_predictor.box_reg_loss_type, plain.box_predictor.smooth_l1_beta) == ("smooth_l1", 0.0)
    cascade = meta_model("cascade_mask_rcnn_focalnet_tiny_lrf_3x").roi_heads
    assert [(m.positive, m.negative, m.best_from) for m in cascade.proposal_matchers] == [
        (0.5, 0.5, None), (0.6, 0.6, None), (0.7, 0.7, None),
    ]  # fmt: skip
    assert cascade.stage_weights == (1.0, 0.5, 0.25)
    assert (cascade.num_samples, cascade.positive_fraction) == (512, 0.25)
    assert {predictor.box_reg_loss_type for predictor in cascade.box_predictor} == {"giou"}
    assert {predictor.loss_weight["loss_box_reg"] for predictor in cascade.box_predictor} == {10.0}


def test_decay_spares_norms_of_the_backbone_only():
    decays = {key: decay for key, _, decay in rates_and_decays("cascade_mask_rcnn_focalnet_tiny_lrf_3x")}
    assert decays["backbone.bottom_up.layers.0.blocks.0.norm1.weight"] == 0
    assert decays["backbone.bottom_up.norm3.bias"] == 0
    for key in (
        "roi_heads.box_head.0.conv1.norm.weight",
        "backbone.fpn_lateral2.bias",
        "roi_heads.box_head.1.fc1.bias",
    ):
        assert decays[key] == 0.05


@pytest.mark.parametrize("name", [name for name in NAMES if "_mini_" in name])
def test_small_recipes_learn_the_images_they_are_tested_on(name):
    recipe = recipe_named(name)
    train, test = recipe.dataloader.train, recipe.dataloader.test
    assert train.dataset.names == test.dataset.names == "coco_2017_train"
    assert train.dataset.limit == test.dataset.limit == 8
    assert recipe.train.backbone_only
    assert recipe.dataloader.evaluator.only_seen_images

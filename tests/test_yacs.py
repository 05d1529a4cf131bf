"""Detectron2's own predictor and builders on our recipes and backbones."""

import inspect

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.engine import DefaultPredictor
from detectron2.modeling import build_backbone

from focalnet_d2.backbone.focalnet import FocalNet
from focalnet_d2.checkpoint import save_checkpoint
from focalnet_d2.config.lazy import RecipeError, apply_overrides, load_recipe
from focalnet_d2.engine.run import build_model
from focalnet_d2.yacs import add_focalnet_config, recipe_to_cfg
from tests.tiny_run import RECIPE, TINY

HEIGHT, WIDTH = 60, 90


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of the tiny recipe, with biases that make some detections stand out."""
    torch.manual_seed(1)
    model = build_model(apply_overrides(load_recipe(RECIPE), TINY)).eval()
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    save_checkpoint(path, {"model": model.state_dict()})
    return path, model


def test_default_predictor_runs_a_recipe_with_the_right_colors_and_sizes(weights):
    path, model = weights
    predictor = DefaultPredictor(recipe_to_cfg(RECIPE, TINY, path))
    bgr = np.random.RandomState(0).randint(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    found = predictor(bgr)["instances"]

    seen = []
    predictor.model.register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    predictor(bgr)
    image = seen[0]["image"]
    assert tuple(image.shape) == (3, 64, 96)  # shorter side 64, as the recipe tests
    assert (seen[0]["height"], seen[0]["width"]) == (HEIGHT, WIDTH)
    means = bgr.reshape(-1, 3).mean(0)[::-1]  # RGB
    assert image.mean((1, 2)).numpy() == pytest.approx(means, abs=1.0)

    with torch.no_grad():
        expected = model([seen[0]])[0]["instances"]
    assert found.image_size == (HEIGHT, WIDTH)
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)
    torch.testing.assert_close(found.scores, expected.scores)


def test_resize_is_that_of_the_recipes_test_loader(weights):
    from detectron2.config import instantiate

    cfg = recipe_to_cfg(RECIPE, TINY, weights[0])
    recipe = apply_overrides(load_recipe(RECIPE), TINY)
    resize = instantiate(recipe.dataloader.test.mapper.augmentations[0])
    image = np.zeros((HEIGHT, 5 * HEIGHT, 3), dtype=np.uint8)  # so long that max_size decides
    predictor = DefaultPredictor(cfg)
    assert (
        predictor.aug.get_transform(image).apply_image(image).shape
        == resize.get_transform(image).apply_image(image).shape
    )


def test_config_of_a_large_recipe():
    cfg = recipe_to_cfg("dino_focalnet_huge", ["train.device=cpu", "train.init_checkpoint=huge.pth"])
    assert cfg.INPUT.FORMAT == "RGB"
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (1200, 2000)
    assert cfg.DATASETS.TEST == ("coco_2017_val",)
    assert cfg.MODEL.LAZY_WEIGHTS == "huge.pth"
    assert cfg.MODEL.WEIGHTS == ""
    assert cfg.MODEL.PIXEL_MEAN == [123.675, 116.28, 103.53]
    assert cfg.MODEL.PIXEL_STD == [58.395, 57.12, 57.375]


def test_unknown_override_is_refused():
    with pytest.raises(RecipeError, match=r"model\.num_classes"):
        recipe_to_cfg(RECIPE, ["model.num_clases=3"])


def test_test_loader_without_a_fixed_size_is_refused():
    with pytest.raises(RecipeError, match="no fixed size"):
        recipe_to_cfg(RECIPE, [*TINY, "dataloader.test.mapper.augmentations=[]"])


def test_every_argument_of_focalnet_is_a_key_with_its_default():
    cfg = get_cfg()
    add_focalnet_config(cfg)
    parameters = inspect.signature(FocalNet.__init__).parameters
    names = [name for name in parameters if name not in ("self", "in_chans")]
    assert sorted(cfg.MODEL.FOCALNET) == sorted(name.upper() for name in names)
    for name in names:
        default = parameters[name].default
        assert cfg.MODEL.FOCALNET[name.upper()] == (list(default) if isinstance(default, tuple) else default)


@pytest.mark.parametrize(("builder", "outputs"), [
    ("build_focalnet_backbone", {"res3": 8, "res5": 32}),
    ("build_focalnet_fpn_backbone", {"p3": 8, "p5": 32, "p6": 64}),
])  # fmt: skip
def test_backbone_of_a_yacs_project(builder, outputs):
    cfg = get_cfg()
    add_focalnet_config(cfg)
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", builder, "MODEL.FOCALNET.EMBED_DIM", 8])
    cfg.merge_from_list(["MODEL.FOCALNET.DEPTHS", [1, 1, 1, 1], "MODEL.FOCALNET.OUT_FEATURES", ["res3", "res5"]])
    cfg.merge_from_list(["MODEL.FPN.IN_FEATURES", ["res3", "res5"], "MODEL.FPN.OUT_CHANNELS", 16])
    if "fpn" in builder:  # a pyramid needs neighbouring levels
        names = ["res3", "res4", "res5"]
        cfg.merge_from_list(["MODEL.FOCALNET.OUT_FEATURES", names, "MODEL.FPN.IN_FEATURES", names])
        outputs = {**outputs, "p4": 16}
    backbone = build_backbone(cfg)
    assert {name: shape.stride for name, shape in backbone.output_shape().items()} == outputs
    features = backbone(torch.zeros(1, 3, 64, 64))
    assert {name: 64 // value.shape[-1] for name, value in features.items()} == outputs


def test_overrides_do_not_reach_the_shipped_recipe():
    recipe_to_cfg(RECIPE, TINY)
    assert load_recipe(RECIPE).model.backbone.dim != 64

"""Boxes over scales and mirror images, of models whose answers are known, and of small ones from recipes."""

import json
import logging

import pytest
import torch
from detectron2.config import instantiate
from detectron2.structures import Boxes, Instances
from torch import nn

from focalnet_d2.config.lazy import apply_overrides, load_recipe
from focalnet_d2.engine.preflight import read_data
from focalnet_d2.engine.run import build_model, evaluate
from focalnet_d2.inference.box_fusion import Nms, WeightedBoxFusion
from focalnet_d2.inference.tta import DetectionTTA
from tests.modeling.rcnn.building import DETECTORS, rcnn_input, tiny_rcnn
from tests.recipes import RECIPES, recipe_named
from tests.tiny_run import RECIPE, TINY, tiny_dataset

ALL = Nms(iou_threshold=1.0)


class BrightBox(nn.Module):
    """Finds the box around the bright pixels, at the wanted size; its score falls with every copy it has seen."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, batched_inputs):
        (image,) = batched_inputs
        bright = image["image"][0] > 127
        self.seen.append(tuple(bright.shape))
        rows, columns = (bright.any(side).nonzero()[:, 0] for side in (1, 0))
        box = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        result = Instances((image["height"], image["width"]), pred_boxes=Boxes(box[None]))
        result.pred_boxes.scale(image["width"] / bright.shape[1], image["height"] / bright.shape[0])
        result.scores = torch.tensor([1 - 0.1 * len(self.seen)])
        result.pred_classes = torch.tensor([5])
        return [{"instances": result}]


@pytest.fixture
def image() -> torch.Tensor:
    """(3, 40, 60), bright in x 6 to 24, y 10 to 30."""
    pixels = torch.zeros(3, 40, 60, dtype=torch.uint8)
    pixels[:, 10:30, 6:24] = 255
    return pixels


def test_boxes_of_all_copies_are_brought_back(image):
    model = BrightBox()
    wrapped = DetectionTTA(model, short_sides=(20, 40, 80), max_size=90, fusion=ALL, top_k=10)
    (found,) = wrapped([{"image": image, "height": 20, "width": 120}])
    result = found["instances"]
    assert model.seen == [(20, 30)] * 2 + [(40, 60)] * 2 + [(60, 90)] * 2  # the longer side is held at 90
    assert result.image_size == (20, 120)
    torch.testing.assert_close(result.pred_boxes.tensor, torch.tensor([[12.0, 5, 48, 15]]).repeat(6, 1))
    torch.testing.assert_close(result.scores, torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]))
    assert result.pred_classes.tolist() == [5] * 6


def test_copies_are_fused_and_only_the_best_are_kept(image):
    wrapped = DetectionTTA(BrightBox(), short_sides=(20, 40), max_size=90, fusion=WeightedBoxFusion(), top_k=10)
    result = wrapped([{"image": image}])[0]["instances"]
    torch.testing.assert_close(result.pred_boxes.tensor, torch.tensor([[6.0, 10, 24, 30]]))
    torch.testing.assert_close(result.scores, torch.tensor([0.75]))
    best = DetectionTTA(BrightBox(), short_sides=(20, 40), max_size=90, fusion=ALL, top_k=3)
    torch.testing.assert_close(best([{"image": image}])[0]["instances"].scores, torch.tensor([0.9, 0.8, 0.7]))


def test_best_first_whatever_the_order_of_the_fusion(image):
    def worst_first(runs):
        return Instances.cat(list(reversed(runs)))

    wrapped = DetectionTTA(BrightBox(), short_sides=(20,), max_size=90, fusion=worst_first, top_k=1)
    torch.testing.assert_close(wrapped([{"image": image}])[0]["instances"].scores, torch.tensor([0.9]))


def test_every_image_has_its_size(image):
    wrapped = DetectionTTA(BrightBox(), short_sides=(40,), max_size=90, fusion=WeightedBoxFusion(), top_k=1)
    first, second = (result["instances"] for result in wrapped([{"image": image}, {"image": image.mT}]))
    torch.testing.assert_close(first.pred_boxes.tensor, torch.tensor([[6.0, 10, 24, 30]]))
    torch.testing.assert_close(second.pred_boxes.tensor, torch.tensor([[10.0, 6, 30, 24]]))
    assert (first.image_size, second.image_size) == ((40, 60), (60, 40))


def test_models_without_instances(image):
    class Other(nn.Module):
        def forward(self, batched_inputs):
            return [{"sem_seg": None}]

    with pytest.raises(ValueError, match="returns sem_seg but no instances"):
        DetectionTTA(Other(), short_sides=(10,), max_size=50, fusion=ALL, top_k=1)([{"image": image}])


def test_masks_of_other_models_are_left_out_and_that_is_said(image, caplog):
    class WithMasks(BrightBox):
        def forward(self, batched_inputs):
            (result,) = super().forward(batched_inputs)
            result["instances"].pred_masks = torch.ones(1, 40, 60, dtype=torch.bool)
            return [result]

    wrapped = DetectionTTA(WithMasks(), short_sides=(40,), max_size=90, fusion=ALL, top_k=5)
    with caplog.at_level(logging.WARNING):
        assert not wrapped([{"image": image}])[0]["instances"].has("pred_masks")
    assert caplog.text.count("masks are left out") == 1


@pytest.mark.parametrize("settings", [{}, {"short_sides": (48, 64), "flip": True, "top_k": 4}])
def test_a_recipe_is_evaluated_with_its_wrapper(tmp_path, settings):
    """One copy of the usual size, and all boxes kept, is the model itself."""
    recipe = apply_overrides(load_recipe(RECIPE), [*TINY, f"train.output_dir={tmp_path / 'plain'}"])
    with tiny_dataset(tmp_path / "data"):
        model = build_model(recipe)
        assert "bbox" in evaluate(model, recipe, read_data(recipe, to_train=False))
        recipe.train.output_dir = str(tmp_path / "augmented")
        recipe.train.test_time_augmentation.enabled = True
        wrapper = recipe.train.test_time_augmentation.wrapper
        wrapper.update({"short_sides": (64,), "flip": False, "top_k": 12, **settings})
        wrapper.fusion = {"_target_": Nms, "iou_threshold": 1.0}
        assert "bbox" in evaluate(model, recipe, read_data(recipe, to_train=False))
    plain, augmented = (
        json.loads((tmp_path / name / "coco_instances_results.json").read_text()) for name in ("plain", "augmented")
    )
    if settings:
        assert len(augmented) == 4 * 4
    else:
        assert [entry["image_id"] for entry in augmented] == [entry["image_id"] for entry in plain]
        for one, other in zip(plain, augmented):
            assert one["category_id"] == other["category_id"]
            assert one["bbox"] == pytest.approx(other["bbox"], abs=1e-4)
            assert one["score"] == pytest.approx(other["score"], abs=1e-6)


def rcnn_tta(model, *, flip=True, **settings) -> DetectionTTA:
    settings = {"short_sides": (64,), "max_size": 200, "fusion": ALL, "top_k": 40, **settings}
    return DetectionTTA(model.eval(), flip=flip, **settings)


def overlap(masks, others) -> torch.Tensor:
    """IoU of all masks together."""
    return (masks & others).sum() / (masks | others).sum()


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_copy_of_an_image_gives_the_masks_of_the_model(detector):
    model = tiny_rcnn(detector)
    inputs = {**rcnn_input(64, 96), "height": 50, "width": 120}
    found = rcnn_tta(model, flip=False, top_k=100)([inputs])[0]["instances"]
    with torch.no_grad():
        alone = model([inputs])[0]["instances"]
    assert len(found) == len(alone) > 5
    torch.testing.assert_close(found.scores, alone.scores)
    torch.testing.assert_close(found.pred_boxes.tensor, alone.pred_boxes.tensor, rtol=1e-4, atol=1e-3)
    assert found.pred_masks.shape == (len(alone), 50, 120)
    assert found.pred_masks.dtype == torch.bool
    assert overlap(found.pred_masks, alone.pred_masks) > 0.99


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_mirrored_image_has_mirrored_masks(detector):
    wrapped, inputs = rcnn_tta(tiny_rcnn(detector)), rcnn_input(64, 96)
    found, mirrored = (
        wrapped([{**inputs, "image": image}])[0]["instances"] for image in (inputs["image"], inputs["image"].flip(-1))
    )
    assert len(found) == len(mirrored) == 40
    torch.testing.assert_close(found.scores, mirrored.scores)
    torch.testing.assert_close(found.pred_boxes.area(), mirrored.pred_boxes.area(), rtol=1e-3, atol=1e-3)
    assert overlap(found.pred_masks, mirrored.pred_masks.flip(-1)) > 0.99
    assert overlap(found.pred_masks, mirrored.pred_masks) < 0.5


def test_no_box_no_mask():
    found = rcnn_tta(tiny_rcnn(), top_k=0)([rcnn_input()])[0]["instances"]
    assert found.pred_masks.shape == (0, 64, 96)


def augmented_recipes() -> list[str]:
    """Of DINO for COCO, and the small one whose gain is documented."""
    dino = [name for name in RECIPES if name.startswith("dino_") and not name.endswith("_objects365")]
    return [name for name in dino if "_mini_" not in name or name == RECIPE]


@pytest.mark.parametrize("name", augmented_recipes())
def test_scales_of_recipes_are_half_to_one_and_a_half_times_the_size(name):
    recipe = recipe_named(name)
    augmentation, size = recipe.train.test_time_augmentation, recipe.dataloader.test.mapper.augmentations[0]
    assert not augmentation.enabled
    eighths = [8 * side / size.short_edge_length for side in augmentation.wrapper.short_sides]
    assert eighths == [4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert augmentation.wrapper.max_size == pytest.approx(1.5 * size.max_size, abs=1)
    node = augmentation.wrapper.copy()
    node.model = None
    wrapper = instantiate(node)
    assert (type(wrapper), type(wrapper.fusion)) == (DetectionTTA, WeightedBoxFusion)
    assert wrapper.top_k >= recipe.dataloader.evaluator.max_dets

"""Every model of a mini recipe keeps the contract of `focalnet_d2.modeling.base`."""

from typing import Any

import pytest
import torch
from detectron2.config import instantiate
from detectron2.modeling import GeneralizedRCNN
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor

from focalnet_d2.modeling.base import ImageBatch, ImageModel, ImageSizes
from tests.recipes import RECIPES, recipe_named

MINI = [name for name in RECIPES if "_mini_" in name]
SIZE = (96, 128)
OUTPUT = {"bbox": "instances", "segm": "instances", "panoptic": "panoptic_seg", "sem_seg": "sem_seg",
          "classification": "scores"}  # fmt: skip


@pytest.fixture(scope="module", params=MINI)
def model(request) -> ImageModel:
    """The recipe's model with random weights, in float64 but for Detectron2's heads, which pool in float32."""
    torch.manual_seed(0)
    model = instantiate(recipe_named(request.param).model)
    return model if isinstance(model, GeneralizedRCNN) else model.double()


def sample(seed: int, *, objects: int = 2) -> dict[str, Any]:
    """An input with the targets of all tasks; without objects, everything is background or ignored."""
    draws = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, *SIZE), generator=draws, dtype=torch.uint8)
    corners = torch.tensor([[8.0, 8.0, 60.0, 70.0], [40.0, 20.0, 120.0, 90.0]])[:objects]
    masks = torch.zeros(objects, *SIZE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, corners.long().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    instances = Instances(
        SIZE, gt_boxes=Boxes(corners), gt_classes=torch.zeros(objects, dtype=torch.int64), gt_masks=BitMasks(masks)
    )
    sem_seg = torch.full(SIZE, 255)
    sem_seg[masks.any(0)] = 0
    return {"image": image, "instances": instances, "sem_seg": sem_seg, "class_id": 0}


def numbers(result: dict[str, Any]) -> list[Tensor]:
    """What a result holds, as tensors; detections by their scores, which random weights may tie in any order."""
    instances, panoptic = result.get("instances"), result.get("panoptic_seg")
    found = [result[name] for name in ("sem_seg", "scores") if name in result]
    found += [] if instances is None else [instances.scores, instances.pred_boxes.tensor.sum(0)]
    return found + ([] if panoptic is None else [panoptic[0]])


def test_tasks_and_layouts_are_said(model):
    assert model.tasks
    assert set(model.tasks) <= set(OUTPUT)
    assert [layout.name for layout in model.layouts]
    assert type(model).forward is ImageModel.forward


@pytest.mark.parametrize("objects", [2, 0])
def test_training_gives_finite_losses_of_the_same_names(model, objects):
    torch.manual_seed(0)
    losses = model.train()([sample(1), sample(2, objects=objects)])
    assert set(losses) == set(model([sample(3), sample(4)]))
    total = sum(losses.values())
    assert total.shape == ()
    assert total.isfinite()
    assert total.requires_grad
    gradients = torch.autograd.grad(total, [weight for weight in model.parameters() if weight.requires_grad],
                                    allow_unused=True)  # fmt: skip
    found = [gradient for gradient in gradients if gradient is not None]
    assert found
    assert all(gradient.isfinite().all() for gradient in found)


@torch.no_grad()
def test_training_without_targets_is_refused(model):
    model.train()
    with pytest.raises(ValueError, match="instances|class_id|sem_seg"):
        model([{"image": sample(0)["image"]}] * 2)


def test_evaluation_gives_what_the_tasks_say_at_the_size_that_is_asked_for(model):
    (result,) = model.eval()([{"image": sample(1)["image"], "height": 50, "width": 70}])
    assert {OUTPUT[task] for task in model.tasks} == set(result)
    if "instances" in result:
        assert result["instances"].image_size == (50, 70)
    for name in ("sem_seg", "panoptic_seg"):
        if name in result:
            maps = result[name] if name == "sem_seg" else result[name][0]
            assert maps.shape[-2:] == (50, 70)


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_alone(model):
    model.eval()
    batch = [{"image": sample(seed)["image"]} for seed in (1, 2, 3)]
    together, alone = model(batch), [model([image])[0] for image in batch]
    for found, expected in zip(together, alone, strict=True):
        for one, other in zip(numbers(found), numbers(expected), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_forward_is_its_parts(model):
    model.eval()
    inputs = [{"image": sample(1)["image"]}]
    images = model.preprocess(inputs)
    assert isinstance(images, ImageBatch)
    assert isinstance(images.sizes, ImageSizes)
    (expected,) = model(inputs)
    (found,) = model.postprocess(model.infer(images), images.sizes)
    for one, other in zip(numbers(found), numbers(expected), strict=True):
        assert torch.equal(one, other)

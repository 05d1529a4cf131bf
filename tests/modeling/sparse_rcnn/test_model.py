"""The whole Sparse R-CNN, small: losses worked out by hand, and its interface."""

import pytest
import torch
from torch import nn

from focalnet_d2.layers.box_ops import box_xyxy_to_cxcywh
from focalnet_d2.set_prediction.box_metric import XyxyBoxMetric
from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.targets import Targets
from tests.dino.building import make_input
from tests.modeling.small_detectors import tiny_sparse_rcnn

SUFFIXES = ("", "_0", "_1")
LOSS_NAMES = {f"loss_{kind}{suffix}" for kind in ("class", "bbox", "giou") for suffix in SUFFIXES}


@pytest.fixture(scope="module")
def model():
    model = tiny_sparse_rcnn()
    for stage in model.head.stages:
        nn.init.normal_(stage.fc_cls.weight, std=0.5)
    return model


def test_losses_by_hand():
    """One object, 100 x 50 pixels of an image of 200 x 100, whose right half the prediction leaves out."""
    pixels = torch.tensor([200.0, 100.0, 200.0, 100.0])
    target = Targets(torch.tensor([1]), box_xyxy_to_cxcywh(torch.tensor([[20.0, 10.0, 120.0, 60.0]]) / pixels))
    boxes = box_xyxy_to_cxcywh(torch.tensor([[[20.0, 10.0, 70.0, 60.0], [0.0, 0.0, 200.0, 100.0]]]) / pixels)
    layer = {"pred_logits": torch.zeros(1, 2, 3), "pred_boxes": boxes}
    criterion = SetCriterion(HungarianMatcher(box_metric=XyxyBoxMetric()), class_weight=2.0)
    losses = criterion({**layer, "aux_outputs": [layer]}, [target])
    focal = (5 * 0.75 + 0.25) * 0.25 * torch.log(torch.tensor(2.0)).item()
    for suffix in ("", "_0"):
        assert losses[f"loss_class{suffix}"].item() == pytest.approx(2 * focal)
        assert losses[f"loss_bbox{suffix}"].item() == pytest.approx(5 * 50 / 200)  # one corner moved along x
        assert losses[f"loss_giou{suffix}"].item() == pytest.approx(2 * 0.5)


def test_every_stage_is_supervised_and_gradient_reaches_every_parameter():
    model = tiny_sparse_rcnn()
    with torch.no_grad():  # regions on every level of the pyramid
        model.head.init_proposal_bboxes.weight[:, 2:] = torch.tensor([1.0, 2.0, 4.0, 8.0, 0.5]).repeat(2)[:, None]
    losses = model.train()([make_input(96, 128, 3), make_input(64, 70, 0, seed=1)])
    assert set(losses) == LOSS_NAMES
    model.zero_grad()
    sum(losses.values()).backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []


def test_images_without_objects_give_finite_losses(model):
    losses = model.train()([make_input(64, 64, 0), make_input(70, 50, 0, seed=1)])
    model.zero_grad()
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["loss_bbox"] == losses["loss_giou_1"] == 0
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


@torch.no_grad()
def test_evaluation_returns_the_best_pairs_at_the_wanted_size(model):
    batch = [make_input(96, 128), {**make_input(65, 90), "height": 650, "width": 900}]
    results = [result["instances"] for result in model.eval()(batch)]
    assert [result.image_size for result in results] == [(96, 128), (650, 900)]
    for result in results:
        assert len(result) == 10
        assert torch.equal(result.scores, result.scores.sort(descending=True).values)
        assert result.pred_boxes.tensor.isfinite().all()


@torch.no_grad()
def test_wanted_size_scales_the_boxes(model):
    image = make_input(64, 96)
    small, large = model.eval()([image, {**image, "height": 640, "width": 480}])
    scale = torch.tensor([5.0, 10.0, 5.0, 10.0])
    torch.testing.assert_close(large["instances"].pred_boxes.tensor, small["instances"].pred_boxes.tensor * scale)


@torch.no_grad()
def test_batch_equals_single_images_of_one_size(model):
    batch = [make_input(72, 100, seed=seed) for seed in range(2)]
    for image, found in zip(batch, model.eval()(batch), strict=True):
        (alone,) = model([image])
        for field in ("scores", "pred_classes"):
            torch.testing.assert_close(found["instances"].get(field), alone["instances"].get(field))
        torch.testing.assert_close(
            found["instances"].pred_boxes.tensor, alone["instances"].pred_boxes.tensor, atol=1e-2, rtol=1e-4
        )


def test_autocast_changes_the_losses_little(model):
    batch = [make_input(96, 128, 3), make_input(64, 64, 1, seed=1)]
    plain = model.train()(batch)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch)
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    assert sum(losses.values()).item() == pytest.approx(sum(plain.values()).item(), rel=0.1)


def test_more_detections_than_pairs_is_refused():
    with pytest.raises(ValueError, match=r"num_select 51 is more than 10 proposals times 5"):
        tiny_sparse_rcnn(num_select=51)


def test_builds_on_the_meta_device():
    with torch.device("meta"):
        assert all(value.is_meta for value in tiny_sparse_rcnn().parameters())

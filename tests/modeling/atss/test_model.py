"""The whole ATSS, small: its pyramid, its selection worked out by hand, and its interface."""

import pytest
import torch
from detectron2.structures import Instances

from focalnet_d2.modeling.atss.head import DensePredictions, StridedLevels
from tests.dino.building import make_input
from tests.modeling.small_detectors import tiny_atss


@pytest.fixture(scope="module")
def model():
    return tiny_atss(score_threshold=0.0)


def assert_same_detections(first: Instances, second: Instances) -> None:
    torch.testing.assert_close(first.scores, second.scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(first.pred_boxes.tensor, second.pred_boxes.tensor, atol=1e-2, rtol=0)
    assert torch.equal(first.pred_classes, second.pred_classes)


# Network


def test_levels_and_cells(model):
    features = model.backbone(torch.zeros(1, 3, 160, 96))
    assert [tuple(level.shape[1:]) for level in features.values()] == [
        (64, 20, 12), (64, 10, 6), (64, 5, 3), (64, 3, 2), (64, 2, 1),
    ]  # fmt: skip
    assert model.strides == [8, 16, 32, 64, 128]
    predictions = model.bbox_head(list(features.values()))
    assert [tuple(level.logits.shape) for level in predictions] == [(1, n, 5) for n in (240, 60, 15, 6, 2)]
    assert [tuple(level.deltas.shape) for level in predictions] == [(1, n, 4) for n in (240, 60, 15, 6, 2)]
    assert [tuple(level.centerness.shape) for level in predictions] == [(1, n) for n in (240, 60, 15, 6, 2)]


def test_extra_levels_have_no_relu_between_them():
    levels = StridedLevels(4)
    p5 = torch.randn(1, 4, 8, 8)
    p6, p7 = levels(p5)
    assert (p6 < 0).any()
    torch.testing.assert_close(p6, levels.p6(p5))
    torch.testing.assert_close(p7, levels.p7(p6))


def test_cells_stand_row_by_row_and_levels_have_their_own_scale(model):
    features = list(model.backbone(torch.rand(1, 3, 96, 160)).values())
    before = model.bbox_head(features)
    x = features[0]
    for layer in model.bbox_head.reg_convs:
        x = layer(x)
    torch.testing.assert_close(before[0].deltas[0, 20 * 3 + 7], model.bbox_head.atss_reg(x)[0, :, 3, 7])
    with torch.no_grad():
        model.bbox_head.scales[1].scale.fill_(2.0)
    after = model.bbox_head(features)
    with torch.no_grad():
        model.bbox_head.scales[1].scale.fill_(1.0)
    torch.testing.assert_close(after[1].deltas, 2 * before[1].deltas)
    torch.testing.assert_close(after[2].deltas, before[2].deltas)
    torch.testing.assert_close(after[1].centerness, before[1].centerness)


# Selection


def level(probabilities, centerness, deltas=None) -> DensePredictions:
    probabilities = torch.tensor(probabilities)
    deltas = torch.zeros(len(probabilities), 4) if deltas is None else torch.tensor(deltas)
    return DensePredictions(torch.logit(probabilities), deltas, torch.logit(torch.tensor(centerness)))


ANCHORS = [
    torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [50.0, 50.0, 60.0, 60.0]]),
    torch.tensor([[80.0, -10.0, 120.0, 30.0]]),
]


def detect(model_settings: dict, first: DensePredictions, second: DensePredictions, size=(100, 100)) -> Instances:
    return tiny_atss(num_classes=2, **model_settings).detect([first, second], ANCHORS, (100, 100), size)


def test_selection_by_hand():
    """The threshold judges the class alone; the second box loses to the first (IoU 0.8) in its class only."""
    first = level([[0.9, 0.04], [0.8, 0.06], [0.04, 0.04]], [0.5, 0.6, 0.99])
    found = detect({}, first, level([[0.01, 0.5]], [0.5]))
    torch.testing.assert_close(found.scores, torch.tensor([0.48, 0.25, 0.036]))
    assert found.pred_classes.tolist() == [0, 1, 1]
    assert found.pred_boxes.tensor.tolist() == [[0, 0, 10, 8], [80, 0, 100, 30], [0, 0, 10, 8]]


def test_suppression_spares_other_classes_and_less_overlap():
    first = level([[0.9, 0.01], [0.8, 0.01], [0.01, 0.01]], [0.5, 0.5, 0.5])
    nothing = level([[0.01, 0.01]], [0.5])
    assert len(detect({}, first, nothing)) == 1
    assert len(detect({"nms_threshold": 0.81}, first, nothing)) == 2
    other = level([[0.9, 0.01], [0.01, 0.8], [0.01, 0.01]], [0.5, 0.5, 0.5])
    assert len(detect({}, other, nothing)) == 2


def test_the_best_of_each_level_are_those_with_the_best_product():
    first = level([[0.9, 0.01], [0.01, 0.01], [0.3, 0.01]], [0.1, 0.99, 0.9])
    found = detect({"candidates_per_level": 1}, first, level([[0.2, 0.01]], [0.5]))
    torch.testing.assert_close(found.scores, torch.tensor([0.27, 0.1]))
    assert len(detect({"max_detections": 1}, first, level([[0.2, 0.01]], [0.5]))) == 1


def test_boxes_are_moved_clipped_and_scaled():
    deltas = [[1.0, 0.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]
    first = level([[0.9, 0.01], [0.01, 0.01], [0.01, 0.01]], [0.5, 0.5, 0.5], deltas)
    found = detect({}, first, level([[0.01, 0.5]], [0.5]), size=(50, 300))
    assert found.image_size == (50, 300)
    torch.testing.assert_close(
        found.pred_boxes.tensor, torch.tensor([[3.0, 0.0, 33.0, 5.0], [240.0, 0.0, 300.0, 15.0]])
    )


# Interface


@torch.no_grad()
def test_evaluation_returns_detections_of_the_wanted_size(model):
    batch = [make_input(96, 128), {**make_input(65, 90), "height": 650, "width": 900}]
    results = [result["instances"] for result in model.eval()(batch)]
    assert [result.image_size for result in results] == [(96, 128), (650, 900)]
    for result in results:
        assert len(result) == 100
        assert torch.equal(result.scores, result.scores.sort(descending=True).values)
        boxes = result.pred_boxes.tensor
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([*result.image_size[::-1]] * 2)).all()


@torch.no_grad()
def test_batch_equals_single_images_of_one_size(model):
    batch = [make_input(72, 100, seed=seed) for seed in range(2)]
    together = model.eval()(batch)
    for image, found in zip(batch, together, strict=True):
        assert_same_detections(found["instances"], model([image])[0]["instances"])


def test_gradient_reaches_every_parameter(model):
    losses = model.train()([make_input(160, 128, 3), make_input(90, 70, 0, seed=1)])
    assert set(losses) == {"loss_class", "loss_bbox", "loss_centerness"}
    model.zero_grad()
    sum(losses.values()).backward()
    unreached = {name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()}
    assert unreached <= {f"bbox_head.scales.{level}.scale" for level in range(1, 5)}  # levels without objects


def test_gradient_reaches_the_scale_of_every_level(model):
    model.zero_grad()
    predictions = model.bbox_head(list(model.backbone(torch.rand(1, 3, 64, 64)).values()))
    sum(level.deltas.sum() for level in predictions).backward()
    assert all(scale.scale.grad.any() for scale in model.bbox_head.scales)


def test_images_without_objects_give_finite_losses(model):
    losses = model.train()([make_input(64, 64, 0), make_input(70, 50, 0, seed=1)])
    model.zero_grad()
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_autocast_changes_the_losses_little(model):
    batch = [make_input(96, 128, 3), make_input(64, 64, 1, seed=1)]
    plain = model.train()(batch)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(plain[name].item(), rel=0.05)


def test_fresh_classes_start_at_a_hundredth():
    with torch.device("meta"):
        head = tiny_atss().bbox_head
    assert head.atss_cls.bias.is_meta
    assert type(head)(64, num_classes=3).atss_cls.bias.sigmoid().tolist() == pytest.approx([0.01] * 3)

"""Losses of ATSS worked out by hand, their normalisation, and what they do not depend on."""

import math

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from focalnet_d2.modeling.atss.criterion import DELTAS, ATSSCriterion
from focalnet_d2.modeling.atss.head import DensePredictions

LOG2 = math.log(2)
LEVELS = [
    torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0]]),
    torch.tensor([[100.0, 100.0, 110.0, 110.0], [200.0, 200.0, 210.0, 210.0], [300.0, 300.0, 310.0, 310.0]]),
]


def ground_truth(boxes, classes) -> Instances:
    return Instances(
        (400, 400),
        gt_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_classes=torch.tensor(classes, dtype=torch.int64),
    )


def zeros(images: int = 1, classes: int = 3) -> list[DensePredictions]:
    """Logits of zero, boxes as the anchors, for each level."""
    return [
        DensePredictions(
            torch.zeros(images, len(a), classes), torch.zeros(images, len(a), 4), torch.zeros(images, len(a))
        )
        for a in LEVELS
    ]


def everywhere(images: int = 1) -> list[torch.Tensor]:
    return [torch.ones(images, len(a), dtype=torch.bool) for a in LEVELS]


def compute_losses(predictions, valid, *instances, **weights):
    return ATSSCriterion(3, **weights)(predictions, LEVELS, valid, instances)


def test_decoding_by_hand():
    """One unit of dx is a tenth of the width, one of dw a fifth in the exponent; no side changes beyond 62.5 times."""
    deltas = torch.tensor([[1.0, -2.0, 5 * LOG2, 0.0], [0.0, 0.0, -999.0, 999.0]])
    found = DELTAS.apply_deltas(deltas, torch.tensor([[0.0, 0.0, 10.0, 20.0]] * 2))
    expected = [[6.0 - 10, 6.0 - 10, 6.0 + 10, 6.0 + 10], [5 - 0.08, 10 - 625.0, 5 + 0.08, 10 + 625.0]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_one_object_by_hand():
    """The first anchor, centre (5, 5), has the object 0..10 x 0..8: IoU 0.8, centreness sqrt(3/5), less than 1."""
    losses = compute_losses(zeros(), everywhere(), ground_truth([[0, 0, 10, 8]], [2]))
    quality = math.sqrt(3 / 5)
    assert losses["loss_class"].item() == pytest.approx((14 * 0.75 + 0.25) * 0.25 * LOG2)
    assert losses["loss_bbox"].item() == pytest.approx(2 * (1 - 0.8) * quality, rel=1e-5)
    assert losses["loss_centerness"].item() == pytest.approx(LOG2)
    sure = zeros()
    sure[0].centerness[0, 0] = 2.0
    expected = math.log1p(math.exp(2.0)) - 2.0 * quality
    assert compute_losses(sure, everywhere(), ground_truth([[0, 0, 10, 8]], [2]))[
        "loss_centerness"
    ].item() == pytest.approx(expected)


def test_boxes_count_by_their_centerness():
    """Two objects: IoU 0.8 at centreness sqrt(3/5), IoU 1 at centreness 1."""
    two = ground_truth([[0, 0, 10, 8], [100, 100, 110, 110]], [2, 0])
    losses = compute_losses(zeros(), everywhere(), two)
    quality = math.sqrt(3 / 5)
    assert losses["loss_bbox"].item() == pytest.approx(2 * 0.2 * quality / (quality + 1), rel=1e-5)
    assert losses["loss_class"].item() == pytest.approx((13 * 0.75 + 2 * 0.25) * 0.25 * LOG2 / 2)


def test_labels_and_boxes_of_every_anchor():
    criterion, images = ATSSCriterion(3), (ground_truth([[0, 0, 10, 8]], [2]), ground_truth([], []))
    labels, boxes = criterion.assign(LEVELS, everywhere(2), images)
    assert labels.tolist() == [[2, -1, -1, -1, -1], [-1] * 5]
    assert boxes[0, 0].tolist() == [0, 0, 10, 8]
    torch.testing.assert_close(boxes[1], torch.cat(LEVELS))


def test_cells_outside_the_image_take_no_object_and_cost_nothing():
    valid, target = everywhere(), ground_truth([[50, 0, 60, 10]], [0])
    assert ATSSCriterion(3).assign(LEVELS, valid, [target])[0].tolist() == [[-1, 0, -1, -1, -1]]
    valid[0][0, 1] = False
    assert ATSSCriterion(3).assign(LEVELS, valid, [target])[0].tolist() == [[-1] * 5]
    wrong = zeros()
    wrong[0].logits[0, 1] = 7.0
    for name, loss in compute_losses(wrong, valid, target).items():
        torch.testing.assert_close(loss, compute_losses(zeros(), valid, target)[name])
    assert compute_losses(zeros(), valid, target)["loss_class"].item() == pytest.approx(12 * 0.75 * 0.25 * LOG2)


def test_weights_multiply_their_terms():
    target = ground_truth([[0, 0, 10, 8]], [2])
    plain = compute_losses(zeros(), everywhere(), target, class_weight=1.0, bbox_weight=1.0, centerness_weight=1.0)
    heavy = compute_losses(zeros(), everywhere(), target, class_weight=3.0, bbox_weight=5.0, centerness_weight=7.0)
    for name, factor in (("loss_class", 3), ("loss_bbox", 5), ("loss_centerness", 7)):
        torch.testing.assert_close(heavy[name], factor * plain[name])


def test_a_batch_of_equal_images_costs_as_much_as_one():
    target = ground_truth([[0, 0, 10, 8], [100, 100, 110, 110]], [2, 0])
    one, two = compute_losses(zeros(), everywhere(), target), compute_losses(zeros(2), everywhere(2), target, target)
    for name in one:
        torch.testing.assert_close(one[name], two[name])


def in_float64(predictions) -> list[DensePredictions]:
    return [DensePredictions(*(part.double() for part in level)) for level in predictions]


@pytest.mark.parametrize(
    ("objects", "divisor"),
    [((1, 0), 2), ((2, 0), 3), ((0, 0), 2), ((0, 1, 0), 3), ((2, 1), 3)],
    ids=str,
)
def test_every_image_counts_at_least_one_positive(objects, divisor):
    """As in mmdetection: an image without objects counts as one with a single positive anchor."""
    boxes = [[0, 0, 10, 8], [100, 100, 110, 108]]
    images = [ground_truth(boxes[:count], [2, 0][:count]) for count in objects]
    predictions, anchors = in_float64(zeros(len(objects))), [level.double() for level in LEVELS]
    losses = ATSSCriterion(3)(predictions, anchors, everywhere(len(objects)), images)
    positives, logits = sum(objects), 15 * len(objects)
    focal = ((logits - positives) * 0.75 + positives * 0.25) * 0.25 * LOG2
    assert losses["loss_class"].item() == pytest.approx(focal / divisor, rel=1e-12)
    assert losses["loss_centerness"].item() == pytest.approx(positives * LOG2 / divisor, rel=1e-12)


def test_divisors_are_means_over_processes(monkeypatch):
    """Another process has an image without objects and one with two: it counts 3 and a centreness of 1.5."""
    others = iter([3.0, 1.5])
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.add_(next(others)))
    losses = compute_losses(zeros(), everywhere(), ground_truth([[0, 0, 10, 8]], [2]))
    quality = math.sqrt(3 / 5)
    assert losses["loss_class"].item() == pytest.approx((14 * 0.75 + 0.25) * 0.25 * LOG2 / ((1 + 3) / 2))
    assert losses["loss_centerness"].item() == pytest.approx(LOG2 / ((1 + 3) / 2))
    assert losses["loss_bbox"].item() == pytest.approx(2 * 0.2 * quality / ((quality + 1.5) / 2), rel=1e-5)


def test_without_objects_only_classes_cost():
    predictions = [DensePredictions(*(part.requires_grad_() for part in level)) for level in zeros()]
    losses = compute_losses(predictions, everywhere(), ground_truth([], []))
    assert losses["loss_class"].item() == pytest.approx(15 * 0.75 * 0.25 * LOG2)
    assert losses["loss_bbox"] == losses["loss_centerness"] == 0
    sum(losses.values()).backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for level in predictions for part in level)


@pytest.mark.parametrize("label", [-1, 3])
def test_class_outside_the_model_is_named(label):
    with pytest.raises(ValueError, match=rf"{label}.*0\.\.2"):
        compute_losses(zeros(), everywhere(), ground_truth([[0, 0, 10, 8]], [label]))

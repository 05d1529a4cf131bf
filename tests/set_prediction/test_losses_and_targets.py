"""Losses against their formulas, what they are indifferent to, and how targets are made of ground truth."""

import math

import pytest
import torch
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.set_prediction.losses import giou_loss, l1_loss, sigmoid_focal_loss
from focalnet_d2.set_prediction.targets import Targets, count_targets, prepare_targets

CPU = torch.device("cpu")


def focal(logit: float, target: int, alpha: float, gamma: float) -> float:
    """-alpha_t (1 - p_t)^gamma log p_t for one number."""
    p = 1 / (1 + math.exp(-logit))
    truth, balance = (p, alpha) if target else (1 - p, 1 - alpha)
    return -balance * (1 - truth) ** gamma * math.log(truth)


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-12, 12), min_size=1, max_size=6),
    seed=st.integers(0, 100),
    alpha=st.sampled_from([0.25, 0.5, 0.9]),
    gamma=st.sampled_from([1.0, 2.0, 3.0]),
)
def test_focal_loss_is_the_sum_of_its_formula(logits, seed, alpha, gamma):
    targets = torch.randint(2, (len(logits),), generator=torch.Generator().manual_seed(seed))
    expected = sum(focal(x, t, alpha, gamma) for x, t in zip(logits, targets.tolist(), strict=True))
    found = sigmoid_focal_loss(torch.tensor(logits, dtype=torch.float64), targets.double(), alpha, gamma)
    assert found.sum().item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_focal_loss_without_focus_is_half_the_cross_entropy():
    logits, targets = torch.randn(5, 4).double(), (torch.rand(5, 4) > 0.5).double()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    torch.testing.assert_close(2 * sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=0.0).sum(), expected)


def test_focal_loss_is_finite_for_extreme_logits():
    logits = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0.0, 1.0, 1.0, 0.0])).sum()
    loss.backward()
    assert loss.item() == pytest.approx(0.25 * 1e4 + 0.75 * 1e4)
    assert logits.grad.isfinite().all()


def test_box_losses_by_hand():
    boxes = torch.tensor([[0.25, 0.5, 0.5, 0.5], [0.5, 0.5, 0.2, 0.2]], dtype=torch.float64)
    targets = torch.tensor([[0.75, 0.5, 0.5, 0.5], [0.5, 0.5, 0.2, 0.2]], dtype=torch.float64)
    assert l1_loss(boxes, targets).tolist() == pytest.approx([0.5, 0.0])
    assert giou_loss(boxes, targets).tolist() == pytest.approx([1.0, 0.0], abs=5e-5)  # touching; equal


def test_losses_of_nothing_are_zero_and_have_a_gradient():
    boxes = torch.rand(3, 4, requires_grad=True)
    none = boxes[:0]
    loss = (l1_loss(none, torch.zeros(0, 4)) + giou_loss(none, torch.zeros(0, 4))).sum()
    loss.backward()
    assert loss.item() == 0
    assert not boxes.grad.any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_pairs_are_judged_by_themselves(seed):
    draws = torch.Generator().manual_seed(seed)
    boxes, targets = (torch.rand(6, 4, generator=draws, dtype=torch.float64) * 0.5 + 0.1 for _ in range(2))
    order = torch.randperm(6, generator=draws)
    for loss in (l1_loss, giou_loss, sigmoid_focal_loss):
        torch.testing.assert_close(loss(boxes[order], targets[order]), loss(boxes, targets)[order])


def test_giou_loss_does_not_know_the_unit_and_l1_does():
    boxes, targets = torch.rand(5, 4).double() + 0.5, torch.rand(5, 4).double() + 0.5
    torch.testing.assert_close(giou_loss(boxes * 7, targets * 7), giou_loss(boxes, targets), atol=1e-4, rtol=0)
    torch.testing.assert_close(l1_loss(boxes * 7, targets * 7), 7 * l1_loss(boxes, targets))


def test_moving_towards_the_target_lowers_the_box_losses():
    target = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    for loss in (l1_loss, giou_loss):
        values = [loss(torch.tensor([[0.5 + shift, 0.5, 0.2, 0.2]]), target).item() for shift in (0.4, 0.2, 0.1, 0.0)]
        assert values == sorted(values, reverse=True)


def ground_truth(size, boxes, classes) -> Instances:
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return instances


def test_targets_are_normalized_by_the_size_of_their_own_image():
    images = [
        ground_truth((100, 200), [[20, 10, 60, 50]], [3]),
        ground_truth((50, 50), [[0, 0, 50, 25], [10, 10, 20, 20]], [0, 4]),
    ]
    first, second = prepare_targets(images, CPU, num_classes=5)
    torch.testing.assert_close(first.boxes, torch.tensor([[0.2, 0.3, 0.2, 0.4]]))
    torch.testing.assert_close(second.boxes, torch.tensor([[0.5, 0.25, 1.0, 0.5], [0.3, 0.3, 0.2, 0.2]]))
    assert first.labels.tolist() == [3]
    assert second.labels.tolist() == [0, 4]
    assert (len(first), len(second)) == (1, 2)


def test_images_without_objects_have_empty_targets():
    (target,) = prepare_targets([ground_truth((10, 10), [], [])], CPU, num_classes=5)
    assert len(target) == 0
    assert target.boxes.shape == (0, 4)


@pytest.mark.parametrize("label", [-1, 5])
def test_class_outside_the_model_is_named(label):
    with pytest.raises(ValueError, match=rf"{label}.*0\.\.4"):
        prepare_targets([ground_truth((10, 10), [[0, 0, 5, 5]], [label])], CPU, num_classes=5)


def test_number_of_targets_is_at_least_one():
    def with_objects(n: int) -> Targets:
        return Targets(torch.zeros(n, dtype=torch.int64), torch.zeros(n, 4))

    assert count_targets([with_objects(3), with_objects(2)], CPU) == 5
    assert count_targets([with_objects(0)], CPU) == 1

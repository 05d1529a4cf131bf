"""Loss terms of DINO: normalisation, weights, what they do not depend on."""

import pytest
import torch

from dino.criterion import DINOCriterion
from dino.denoising import ContrastiveDenoising
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.targets import Targets

CLASSES, QUERIES = 4, 8


def make_targets(*counts: int, seed: int = 0) -> list[Targets]:
    draws = torch.Generator().manual_seed(seed)
    return [
        Targets(
            torch.randint(CLASSES, (n,), generator=draws),
            torch.cat(
                [0.3 + 0.4 * torch.rand(n, 2, generator=draws), 0.1 + 0.2 * torch.rand(n, 2, generator=draws)], -1
            ),
        )
        for n in counts
    ]


def predictions(batch: int, queries: int = QUERIES, seed: int = 0) -> dict:
    draws = torch.Generator().manual_seed(seed)
    return {
        "pred_logits": torch.randn(batch, queries, CLASSES, generator=draws),
        "pred_boxes": 0.2 + 0.3 * torch.rand(batch, queries, 4, generator=draws),
    }


def outputs_for(batch: int, seed: int = 0) -> dict:
    aux = [predictions(batch, seed=seed + 1), predictions(batch, seed=seed + 2)]
    return {**predictions(batch, seed=seed), "aux_outputs": aux, "enc_outputs": predictions(batch, seed=seed + 3)}


def criterion(**weights) -> DINOCriterion:
    return DINOCriterion(HungarianMatcher(), **weights)


def test_names_follow_the_layers():
    losses = criterion()(outputs_for(2), make_targets(2, 1))
    expected = {f"loss_{kind}{suffix}" for kind in ("class", "bbox", "giou") for suffix in ("", "_0", "_1", "_enc")}
    assert set(losses) == expected


def test_weights_multiply_their_terms():
    targets, outputs = make_targets(2, 3), outputs_for(2)
    plain = criterion(class_weight=1.0, bbox_weight=1.0, giou_weight=1.0)(outputs, targets)
    weighted = criterion(class_weight=3.0, bbox_weight=5.0, giou_weight=7.0)(outputs, targets)
    for name, loss in plain.items():
        factor = {"class": 3.0, "bbox": 5.0, "giou": 7.0}[name.split("_")[1]]
        torch.testing.assert_close(weighted[name], factor * loss)


def test_by_hand():
    """Two queries, one object: L1 0.3 in all, focal loss of a zero logit everywhere, divided by one object."""
    outputs = {
        "pred_logits": torch.zeros(1, 2, CLASSES),
        "pred_boxes": torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]]),
    }
    target = Targets(torch.tensor([1]), torch.tensor([[0.6, 0.5, 0.3, 0.3]]))
    (losses,) = criterion().compute_losses([outputs], [target], [[(torch.tensor([0]), torch.tensor([0]))]], 1.0)
    log2 = torch.log(torch.tensor(2.0)).item()
    assert losses["loss_class"].item() == pytest.approx((7 * 0.75 + 0.25) * 0.25 * log2)
    assert losses["loss_bbox"].item() == pytest.approx(5 * 0.3)
    overlap, union = 0.15 * 0.2, 0.04 + 0.09 - 0.15 * 0.2  # x 0.45..0.6, y 0.4..0.6
    hull = 0.35 * 0.3  # x 0.4..0.75, y 0.35..0.65
    giou = overlap / union - (hull - union) / hull
    assert losses["loss_giou"].item() == pytest.approx(2 * (1 - giou), abs=1e-4)


def test_perfect_predictions_cost_almost_nothing():
    (target,) = make_targets(3)
    logits = torch.full((1, QUERIES, CLASSES), -12.0)
    boxes = torch.full((1, QUERIES, 4), 0.05)
    logits[0, torch.arange(3) + 2, target.labels] = 12.0
    boxes[0, 2:5] = target.boxes
    perfect = {"pred_logits": logits, "pred_boxes": boxes}
    losses = criterion()({**perfect, "aux_outputs": [], "enc_outputs": perfect}, [target])
    assert sum(losses.values()).item() < 1e-3


def test_repeating_the_batch_changes_nothing():
    """Terms are divided by the number of objects, not by that of images."""
    outputs, targets = outputs_for(2), make_targets(2, 3)

    def twice(value):
        if isinstance(value, dict):
            return {key: twice(part) for key, part in value.items()}
        return [twice(part) for part in value] if isinstance(value, list) else torch.cat([value, value])

    once, repeated = criterion()(outputs, targets), criterion()(twice(outputs), targets * 2)
    for name in once:
        torch.testing.assert_close(once[name], repeated[name])


def test_order_of_objects_and_queries_does_not_matter():
    outputs, (target,) = outputs_for(1), make_targets(4)
    order, turned = torch.tensor([2, 0, 3, 1]), torch.randperm(QUERIES)

    def permuted(value):
        if isinstance(value, dict):
            return {key: permuted(part) for key, part in value.items()}
        return [permuted(part) for part in value] if isinstance(value, list) else value[:, turned]

    expected = criterion()(outputs, [target])
    found = criterion()(permuted(outputs), [Targets(target.labels[order], target.boxes[order])])
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_every_layer_is_matched_on_its_own():
    """The terms of a layer do not depend on the others' predictions."""
    outputs, targets = outputs_for(2), make_targets(2, 3)
    changed = {**outputs, **predictions(2, seed=99)}
    first, second = criterion()(outputs, targets), criterion()(changed, targets)
    for name in first:
        assert torch.equal(first[name], second[name]) == name.endswith(("_0", "_1", "_enc"))


def test_denoising_terms_know_their_objects_and_are_divided_by_the_groups():
    """Boxes restored exactly, of any number of groups, cost nothing; a fixed error costs the same for any number."""
    targets = make_targets(3, 1)
    for dn_number in (60, 90):
        module = ContrastiveDenoising(CLASSES, dim=4, dn_number=dn_number)
        queries = module(targets)
        boxes = torch.full((2, queries.num_queries, 4), 0.9)
        for image, (places, objects) in enumerate(queries.indices(targets)):
            boxes[image, places] = targets[image].boxes[objects]
        logits = torch.zeros(2, queries.num_queries, CLASSES)
        exact = {"pred_logits": logits, "pred_boxes": boxes, "aux_outputs": []}
        losses = criterion()({**outputs_for(2), "dn_outputs": exact}, targets, queries)
        assert losses["loss_bbox_dn"].item() == 0
        assert losses["loss_giou_dn"].item() == pytest.approx(0, abs=1e-3)
        shifted = {**exact, "pred_boxes": boxes + torch.tensor([0.1, 0.0, 0.0, 0.0])}
        losses = criterion()({**outputs_for(2), "dn_outputs": shifted}, targets, queries)
        assert losses["loss_bbox_dn"].item() == pytest.approx(5 * 0.1, rel=1e-4)


def test_negative_denoising_queries_are_trained_as_background():
    targets = make_targets(2)
    queries = ContrastiveDenoising(CLASSES, dim=4, dn_number=20)(targets)
    logits = torch.zeros(1, queries.num_queries, CLASSES, requires_grad=True)
    boxes = torch.full((1, queries.num_queries, 4), 0.5)
    noisy = {"pred_logits": logits, "pred_boxes": boxes, "aux_outputs": []}
    criterion()({**outputs_for(1), "dn_outputs": noisy}, targets, queries)["loss_class_dn"].backward()
    rejected = torch.arange(queries.num_queries) % 4 >= 2
    assert (logits.grad[0, rejected] > 0).all()  # every class is pushed down
    restored = logits.grad[0, ~rejected]
    assert ((restored < 0).sum(-1) == 1).all()  # the object's class is pushed up


def test_half_precision_outputs_are_judged_in_float32():
    outputs, targets = outputs_for(2), make_targets(2, 3)

    def lowered(value):
        if isinstance(value, dict):
            return {key: lowered(part) for key, part in value.items()}
        return [lowered(part) for part in value] if isinstance(value, list) else value.bfloat16()

    losses = criterion()(lowered(outputs), targets)
    assert all(loss.dtype == torch.float32 for loss in losses.values())

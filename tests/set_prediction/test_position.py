"""Stable-DINO's class targets and the modulation of its matching cost."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.set_prediction.criterion import SetCriterion
from focalnet_d2.set_prediction.matcher import HungarianMatcher
from focalnet_d2.set_prediction.position import PositionModulation, PositionSupervision
from focalnet_d2.set_prediction.targets import Targets

CLASSES = 3


def boxes_of(count: int, draws: torch.Generator) -> torch.Tensor:
    return torch.cat(
        [0.3 + 0.4 * torch.rand(count, 2, generator=draws), 0.1 + 0.3 * torch.rand(count, 2, generator=draws)], -1
    )


def batch(counts: list[int], seed: int) -> list[Targets]:
    draws = torch.Generator().manual_seed(seed)
    return [Targets(torch.randint(CLASSES, (n,), generator=draws), boxes_of(n, draws)) for n in counts]


@given(st.integers(0, 20), st.integers(1, 4), st.sampled_from(["none", "exp", "sin"]), st.integers(0, 2**31))
def test_the_best_query_of_each_image_is_trained_towards_one(pairs, images, curve, seed):
    draws = torch.Generator().manual_seed(seed)
    scores, ious = 0.1 + 0.9 * torch.rand(2, pairs, generator=draws)
    image = torch.randint(images, (pairs,), generator=draws)
    supervision = PositionSupervision(score_exponent=0.5, curve=curve)
    targets = supervision.targets(scores, ious, image, images)
    assert ((targets >= 0) & (targets <= 1 + 1e-6)).all()
    for one in range(images):
        mine = targets[image == one]
        if len(mine):
            assert float(mine.max()) == pytest.approx(1.0, abs=1e-4)
            alone = supervision.targets(scores[image == one], ious[image == one], torch.zeros(len(mine)).long(), 1)
            torch.testing.assert_close(mine, alone)


def test_boxes_that_miss_their_objects_have_no_target():
    targets = PositionSupervision().targets(torch.ones(3), torch.tensor([0.0, 0.0, 0.5]), torch.tensor([0, 0, 1]), 2)
    assert targets.tolist() == pytest.approx([0, 0, 1])


def losses_of(criterion: SetCriterion, logits: torch.Tensor, boxes: torch.Tensor, target: Targets) -> dict:
    pairs = torch.arange(len(target)), torch.arange(len(target))
    (losses,) = criterion.compute_losses([{"pred_logits": logits, "pred_boxes": boxes}], [target], [[pairs]], 1.0)
    return losses


@pytest.mark.parametrize("logit", [-1e4, -104.0, 104.0, 1e4])
def test_loss_and_gradient_are_finite_where_the_published_loss_is_not(logit):
    (target,) = batch([2], 0)
    logits = torch.full((1, 4, CLASSES), logit).requires_grad_()
    boxes = torch.cat([target.boxes, boxes_of(2, torch.Generator().manual_seed(1))])[None].requires_grad_()
    criterion = SetCriterion(HungarianMatcher(), position_supervision=PositionSupervision())
    loss = losses_of(criterion, logits, boxes, target)["loss_class"]
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert boxes.grad is None or not boxes.grad.any()


def test_gradient_against_differences():
    (target,) = batch([3], 2)
    draws = torch.Generator().manual_seed(3)
    boxes = boxes_of(5, draws).double()[None]
    logits = torch.randn(1, 5, CLASSES, generator=draws, dtype=torch.float64).requires_grad_()
    criterion = SetCriterion(HungarianMatcher(), position_supervision=PositionSupervision())
    target = Targets(target.labels, target.boxes.double())
    assert torch.autograd.gradcheck(lambda x: losses_of(criterion, x, boxes, target)["loss_class"], logits)


def test_exact_boxes_make_it_the_focal_loss():
    (target,) = batch([3], 4)
    logits = torch.randn(1, 3, CLASSES, generator=torch.Generator().manual_seed(5))
    focal = losses_of(SetCriterion(HungarianMatcher()), logits, target.boxes[None], target)
    soft = SetCriterion(HungarianMatcher(), position_supervision=PositionSupervision())
    torch.testing.assert_close(losses_of(soft, logits, target.boxes[None], target), focal, rtol=1e-4, atol=1e-4)


def test_the_example_of_the_published_flaw():
    """A later object of the same class, in another image, takes away what the query's own object gave."""
    own, other = (Targets(torch.tensor([0]), torch.tensor([[0.5 + x, 0.5, 0.2, 0.2]])) for x in (-0.3, 0.3))
    other_class = Targets(torch.tensor([1]), other.boxes)
    found = {}
    for mode in ("official", "pairwise"):
        matcher = HungarianMatcher(
            1.0, bbox_weight=0.0, giou_weight=0.0, position_modulation=PositionModulation(mode=mode)
        )
        boxes = torch.cat([own.boxes, other.boxes])  # (2, 4): a query on each object
        for name, second in (("other class", other_class), ("same class", other)):
            factors, _ = matcher.position_modulation.factors(boxes.expand(1, 2, 2, 4), [own, second])
            found[mode, name] = float(matcher.cost(torch.zeros(2, 2), boxes, own, factors[0])[0])
    assert found["official", "other class"] == found["pairwise", "other class"] == found["pairwise", "same class"]
    assert found["official", "same class"] > found["official", "other class"] + 0.2


@pytest.mark.parametrize("mode", ["official", "pairwise"])
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 2**31))
def test_factors_by_the_definition(mode, counts, seed):
    """One query, class and object after the other, as the formula is written."""
    targets, draws = batch(counts, seed), torch.Generator().manual_seed(seed)
    boxes = boxes_of(6 * len(targets), draws).view(2, len(targets), 3, 4)
    by_image = PositionModulation(0.5, mode).factors(boxes, targets)
    for image, (own, factors) in enumerate(zip(targets, by_image, strict=True)):
        assert factors.shape == (2, 3, len(own))
        for one in range(2):
            expected = factors_by_hand(boxes[one, image], own, targets, mode)
            torch.testing.assert_close(factors[one], expected, atol=1e-5, rtol=1e-4)


def factors_by_hand(boxes: torch.Tensor, own: Targets, targets: list[Targets], mode: str) -> torch.Tensor:
    compared = {}
    if mode == "official":
        for image in targets:
            for label, box in zip(image.labels.tolist(), image.boxes, strict=True):
                compared[label] = box  # the last one stays
        keys = own.labels.tolist()
    else:
        compared = dict(enumerate(own.boxes))
        keys = list(range(len(own)))
    table = {key: torch.stack([(giou_by_hand(q, box) + 1) / 2 for q in boxes]) for key, box in compared.items()}
    largest = max([float(column.max()) for column in table.values()], default=0.0)
    scale = max(1.0, 1 / (largest + 1e-8))
    columns = [(table[key] * scale) ** 0.5 for key in keys]
    return torch.stack(columns, 1) if columns else torch.zeros(len(boxes), 0)


def giou_by_hand(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    low = [(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2) for i in (0, 1)]
    high = [(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) for i in (0, 1)]
    inner = math.prod(max(float(min(h)) - float(max(l)), 0.0) for l, h in zip(low, high, strict=True))
    hull = math.prod(float(max(h)) - float(min(l)) for l, h in zip(low, high, strict=True))
    union = float(a[2] * a[3] + b[2] * b[3]) - inner
    return torch.tensor(inner / union - (hull - union) / hull)


def test_settings_that_do_not_exist():
    with pytest.raises(ValueError, match="curve is 'cos'"):
        PositionSupervision(curve="cos")
    with pytest.raises(ValueError, match="mode is 'both'"):
        PositionModulation(mode="both")
    with pytest.raises(ValueError, match="exponent is 0"):
        PositionModulation(exponent=0)

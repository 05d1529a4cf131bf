"""Mask2Former's losses: perfect predictions, empty images, chunks, half precision, independence of padding."""

import math

import pytest
import torch
import torch.nn.functional as F

from focalnet_d2.set_prediction.matcher import MaskMatcher
from focalnet_d2.set_prediction.targets import MaskTargets
from mask2former.criterion import Mask2FormerCriterion

CLASSES, QUERIES, CHANNELS = 3, 5, 4


def build_criterion(**changes) -> Mask2FormerCriterion:
    return Mask2FormerCriterion(MaskMatcher(), **{"num_classes": CLASSES, "num_points": 40, **changes})


def random_predictions(images: int = 2, layers: int = 2, dtype: torch.dtype = torch.float64):
    draws = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=draws, dtype=dtype).requires_grad_()

    predictions = [
        {"pred_logits": draw(images, QUERIES, CLASSES + 1), "mask_embed": draw(images, QUERIES, CHANNELS)}
        for _ in range(layers)
    ]
    return predictions, draw(images, CHANNELS, 8, 12)


def make_targets(*labels: list[int], size: tuple[int, int] = (32, 48)) -> list[MaskTargets]:
    draws = torch.Generator().manual_seed(1)
    return [
        MaskTargets(torch.tensor(image, dtype=torch.int64), torch.rand(len(image), *size, generator=draws) > 0.5)
        for image in labels
    ]


def tensors_of(predictions, mask_features) -> list[torch.Tensor]:
    return [*(value for one in predictions for value in one.values()), mask_features]


def perfect_predictions(labels: list[int]):
    """Query q is sure of segment q; the rest of no object. Segments are vertical stripes, 4 columns of the map each."""
    logits = torch.full((1, QUERIES, CLASSES + 1), -30.0)
    features = torch.full((1, CHANNELS, 8, 16), -50.0)
    masks = torch.zeros(len(labels), 32, 64, dtype=torch.bool)
    for query in range(QUERIES):
        logits[0, query, labels[query] if query < len(labels) else CLASSES] = 30.0
    for segment in range(len(labels)):
        features[0, segment, :, 4 * segment : 4 * segment + 4] = 50.0
        masks[segment, :, 16 * segment : 16 * segment + 16] = True
    embed = torch.eye(QUERIES, CHANNELS)[None]
    return [{"pred_logits": logits, "mask_embed": embed}], features, [MaskTargets(torch.tensor(labels), masks)]


def test_perfect_predictions_cost_next_to_nothing():
    """Only points between two cells of the map are undecided, at the segments' borders."""
    losses = build_criterion(num_points=4000, importance_sample_ratio=0.0)(*perfect_predictions([2, 0, 1]))
    assert losses["loss_class"] < 1e-6
    assert losses["loss_dice"] < 5 * 0.05
    wrong = build_criterion(num_points=4000)(*perfect_predictions([2, 0, 1])[:2], make_targets([0], size=(32, 64)))
    assert wrong["loss_dice"] > 5 * 0.2


def test_class_loss_by_hand():
    """Uniform logits cost log 4 each, whatever the weights; a sure miss of an object weighs ten times a sure ghost."""
    criterion = build_criterion()
    targets = [torch.tensor([1])]
    pairs = [(torch.tensor([3]), torch.tensor([0]))]
    uniform = torch.zeros(1, QUERIES, CLASSES + 1)
    assert criterion.class_loss(uniform, pairs, targets).item() == pytest.approx(math.log(4))
    sure = torch.zeros(1, QUERIES, CLASSES + 1)
    sure[..., CLASSES] = 100.0  # all queries say no object, the matched one is wrong by 100
    assert criterion.class_loss(sure, pairs, targets).item() == pytest.approx(100 / (1 + 0.1 * (QUERIES - 1)))


def test_names_and_deep_supervision():
    predictions, mask_features = random_predictions(layers=3)
    losses = build_criterion()(predictions, mask_features, make_targets([0, 1], [2]))
    stems = ("loss_class", "loss_mask", "loss_dice")
    assert set(losses) == {stem + suffix for stem in stems for suffix in ("", "_0", "_1")}
    sum(losses.values()).backward()
    assert all(tensor.grad.abs().sum() > 0 for tensor in tensors_of(predictions, mask_features))


def test_a_batch_without_objects_trains_classes_only():
    predictions, mask_features = random_predictions()
    losses = build_criterion()(predictions, mask_features, make_targets([], []))
    assert losses["loss_mask"].item() == losses["loss_dice"].item() == 0
    sum(losses.values()).backward()
    assert all(tensor.grad is not None for tensor in tensors_of(predictions, mask_features))
    assert predictions[0]["pred_logits"].grad.abs().sum() > 0


def test_empty_and_single_pixel_masks_give_finite_losses_and_gradients():
    predictions, mask_features = random_predictions()
    targets = make_targets([0, 1], [2])
    targets[0].masks[:] = False
    targets[1].masks[:] = False
    targets[1].masks[0, 31, 47] = True
    losses = build_criterion()(predictions, mask_features, targets)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(tensor.grad.isfinite().all() for tensor in tensors_of(predictions, mask_features))


@pytest.mark.parametrize("pairs_at_once", [1, 2, 3])
def test_chunks_change_nothing(pairs_at_once):
    results = []
    for size in (0, pairs_at_once):
        torch.manual_seed(5)
        predictions, mask_features = random_predictions()
        criterion = build_criterion(pairs_at_once=size)
        losses = criterion(predictions, mask_features, make_targets([0, 1, 1, 2], [2, 0, 1]))
        sum(losses.values()).backward()
        results.append((losses, [tensor.grad for tensor in tensors_of(predictions, mask_features)]))
    torch.testing.assert_close(results[0], results[1])


def test_masks_that_are_not_padded_count_as_padded():
    small = make_targets([0, 1], [2], size=(30, 41))
    padded = [MaskTargets(image.labels, F.pad(image.masks, (0, 7, 0, 2))) for image in small]
    losses = []
    for targets in (small, padded):
        torch.manual_seed(5)
        losses.append(build_criterion()(*random_predictions(), targets))
    torch.testing.assert_close(*losses)


def test_half_precision_is_widened():
    predictions, mask_features = random_predictions(dtype=torch.float32)
    halves = [{name: value.half() for name, value in one.items()} for one in predictions]
    criterion = build_criterion()
    losses = criterion(halves, mask_features.half() * 3000, make_targets([0, 1], [2]))
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert criterion.matcher.non_finite_costs == 0


def test_predictions_that_are_not_finite_do_not_stop_the_matching():
    predictions, mask_features = random_predictions()
    with torch.no_grad():
        predictions[0]["mask_embed"][0, 1] = float("nan")
    criterion = build_criterion()
    matched = criterion.match(predictions, mask_features, make_targets([0, 1], [2]))
    assert criterion.matcher.non_finite_costs == 2
    assert 1 not in matched[0][0][0]


def test_points_are_as_many_as_the_settings_say():
    drawn = []

    def draw(count, num_points, like):
        drawn.append((count, num_points))
        return torch.rand(count, num_points, 2, dtype=like.dtype)

    criterion = build_criterion(num_points=100, oversample_ratio=3.0, importance_sample_ratio=0.75, draw_points=draw)
    criterion(*random_predictions(layers=1), make_targets([0, 1], [2]))
    assert drawn == [(1, 100), (1, 100), (3, 300), (3, 25)]

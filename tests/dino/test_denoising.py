"""Denoising queries: how many, where they stand, what the noise does, who sees whom."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dino.denoising import ContrastiveDenoising
from focalnet_d2.layers.box_ops import inverse_sigmoid
from focalnet_d2.set_prediction.targets import Targets


def targets_of(*counts: int, classes: int = 5, seed: int = 0) -> list[Targets]:
    draws = torch.Generator().manual_seed(seed)
    made = []
    for n in counts:
        sides = 0.1 + 0.3 * torch.rand(n, 2, generator=draws)
        centers = 0.3 + 0.4 * torch.rand(n, 2, generator=draws)
        labels = torch.randint(classes, (n,), generator=draws)
        made.append(Targets(labels, torch.cat([centers, sides], dim=-1)))
    return made


def denoising(**changes) -> ContrastiveDenoising:
    torch.manual_seed(0)
    return ContrastiveDenoising(5, dim=8, **{"dn_number": 100, **changes})


@pytest.mark.parametrize(
    ("dn_number", "counts", "groups", "queries"),
    [
        (100, (0, 0), 1, 0),  # no objects
        (100, (3, 1), 33, 198),
        (100, (1, 1), 100, 200),
        (100, (7, 2), 14, 196),
        (100, (100, 5), 1, 200),
        (100, (130, 0), 1, 260),  # more objects than asked for: still one group
        (50, (7, 0), 7, 98),
        (40, (7, 0), 80, 1120),  # below 50 the number counts groups, as published
        (1, (2, 0), 2, 8),
        (1000, (3, 0), 333, 1998),
    ],
)
def test_number_of_groups_and_queries(dn_number, counts, groups, queries):
    made = denoising(dn_number=dn_number)(targets_of(*counts))
    assert made.num_groups == groups
    assert made.num_queries == queries
    assert made.query_feat.shape == (len(counts), queries, 8)
    assert made.box_logits.shape == (len(counts), queries, 4)


def test_attention_mask_of_the_example():
    """3 objects, 33 groups, 20 matched queries: measured with the official code."""
    mask = denoising()(targets_of(3, 1)).attention_mask(20)
    assert mask.shape == (218, 218)
    assert mask.sum().item() == 41_976
    assert mask[0].sum().item() == 192
    assert mask[-1].sum().item() == 198


@settings(max_examples=20)
@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=3), matched=st.integers(1, 7))
def test_structure_of_the_attention_mask(counts, matched):
    queries = denoising(dn_number=60)(targets_of(*counts))
    mask, size, total = queries.attention_mask(matched), 2 * max(counts), queries.num_queries
    assert mask.shape == (total + matched, total + matched)
    assert mask[total:, :total].all()  # matched queries would see the truth
    assert not mask[:, total:].any()  # everybody sees the matched queries
    for start in range(0, total, max(size, 1)):
        group = slice(start, start + size)
        assert not mask[group, group].any()
        assert mask[group, :start].all()
        assert mask[group, start + size : total].all()
    assert not mask.all(1).any()  # no row without anything to see


def test_without_noise_every_object_stands_in_its_places():
    targets = targets_of(2, 3)
    module = denoising(dn_number=60, label_noise_ratio=0.0, box_noise_scale=0.0)
    queries = module(targets)
    assert queries.num_groups == 20
    for image, target in enumerate(targets):
        for copy in range(2 * queries.num_groups):
            place = slice(3 * copy, 3 * copy + len(target))
            assert torch.equal(queries.query_feat[image, place], module.label_enc(target.labels))
            torch.testing.assert_close(queries.box_logits[image, place], inverse_sigmoid(target.boxes))
            rest = slice(3 * copy + len(target), 3 * copy + 3)
            assert not queries.query_feat[image, rest].any()
            assert not queries.box_logits[image, rest].any()


def test_indices_point_at_the_objects_to_restore():
    targets = targets_of(2, 0, 3)
    module = denoising(label_noise_ratio=0.0, box_noise_scale=0.0)
    queries = module(targets)
    for image, (places, objects) in enumerate(queries.indices(targets)):
        assert len(places) == queries.num_groups * len(targets[image])
        assert torch.equal(queries.query_feat[image, places], module.label_enc(targets[image].labels[objects]))
        assert ((places % queries.group_size) < 3).all()  # the first half of a group
    assert queries.indices(targets)[0][0][:4].tolist() == [0, 1, 6, 7]


def test_box_noise_moves_corners_by_up_to_one_half_side_and_rejected_ones_by_one_to_two():
    target = Targets(torch.tensor([2]), torch.tensor([[0.5, 0.5, 0.2, 0.1]]))
    queries = denoising(dn_number=500, box_noise_scale=1.0, label_noise_ratio=0.0)([target])
    corners = torch.cat(
        [queries.boxes[:, :2] - queries.boxes[:, 2:] / 2, queries.boxes[:, :2] + queries.boxes[:, 2:] / 2], -1
    )
    moved = (corners - torch.tensor([0.4, 0.45, 0.6, 0.55])).abs() / torch.tensor([0.1, 0.05, 0.1, 0.05])
    restore, reject = moved[0::2], moved[1::2]
    assert restore.max() <= 1 + 1e-5
    assert reject.min() >= 1 - 1e-5
    assert reject.max() <= 2 + 1e-5
    assert restore.mean().item() == pytest.approx(0.5, abs=0.05)
    assert reject.mean().item() == pytest.approx(1.5, abs=0.05)


def test_box_noise_scale_is_linear_and_boxes_stay_in_the_image():
    targets = targets_of(4, seed=3)
    module = denoising(box_noise_scale=0.4)
    noise = module.draw(25, 4, torch.device("cpu"))
    small = module(targets, noise).boxes
    module.box_noise_scale = 0.8
    large = module(targets, noise).boxes
    truth = targets[0].boxes.repeat(50, 1)
    inside = ((large[:, :2] - large[:, 2:].abs() / 2 > 1e-3) & (large[:, :2] + large[:, 2:].abs() / 2 < 0.999)).all(-1)
    torch.testing.assert_close((large - truth)[inside], 2 * (small - truth)[inside], atol=1e-5, rtol=1e-4)
    wild = denoising(box_noise_scale=20.0)(targets).boxes
    assert (wild[:, :2] - wild[:, 2:].abs() / 2).min() >= -1e-6
    assert (wild[:, :2] + wild[:, 2:].abs() / 2).max() <= 1 + 1e-6


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_half_the_noise_ratio_of_the_labels_is_replaced(ratio):
    target = Targets(torch.zeros(1, dtype=torch.int64), torch.tensor([[0.5, 0.5, 0.2, 0.1]]))
    torch.manual_seed(0)
    queries = ContrastiveDenoising(1000, dim=4, dn_number=3000, label_noise_ratio=ratio)([target])
    changed = (queries.labels != 0).double().mean().item()  # a thousandth draws the old label again
    assert changed == pytest.approx(ratio / 2, abs=0.02)


def test_replayed_noise_gives_the_same_queries():
    targets, module = targets_of(3, 2), denoising()
    noise = module.draw(33, 5, torch.device("cpu"))
    first, second = module(targets, noise), module(targets, noise)
    assert torch.equal(first.query_feat, second.query_feat)
    assert torch.equal(first.box_logits, second.box_logits)
    assert not torch.equal(first.box_logits, module(targets).box_logits)


def test_gradient_reaches_the_labels_that_occur():
    targets, module = targets_of(2), denoising(label_noise_ratio=0.0)
    module(targets).query_feat.sum().backward()
    rows = module.label_enc.weight.grad.abs().sum(-1) > 0
    assert set(rows.nonzero().flatten().tolist()) == set(targets[0].labels.tolist())


def test_without_objects_the_table_stays_in_the_graph():
    """All processes of a distributed run must reduce the same parameters."""
    module = denoising()
    module(targets_of(0, 0)).query_feat.sum().backward()
    assert module.label_enc.weight.grad is not None
    assert not module.label_enc.weight.grad.any()


def test_denoising_can_be_switched_off():
    queries = denoising(dn_number=0)(targets_of(3, 1))
    assert queries.num_queries == 0
    assert not queries.attention_mask(4).any()

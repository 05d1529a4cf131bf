"""Which boxes are trained on which objects."""

import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.modeling.rcnn.proposal_sampling import MaxIoUMatcher, SharedMasks, sample_proposals
from tests.modeling.rcnn.building import rcnn_input

ANCHORS = MaxIoUMatcher(0.7, 0.3, best_from=0.3)
REGIONS = MaxIoUMatcher(0.5, 0.5, best_from=0.5)


def match(matcher, iou):
    matches, labels = matcher(torch.tensor(iou))
    return matches.tolist(), labels.tolist()


def test_thresholds_by_hand():
    iou = [[0.1, 0.30, 0.69, 0.70, 0.95], [0.2, 0.29, 0.50, 0.10, 0.00]]
    assert match(MaxIoUMatcher(0.7, 0.3), iou) == ([1, 0, 0, 0, 0], [0, -1, -1, 1, 1])


def test_the_best_boxes_of_an_object_are_positive_however_many_are_equally_good():
    iou = [[0.40, 0.40, 0.39, 0.0], [0.29, 0.1, 0.0, 0.2]]
    assert match(ANCHORS, iou) == ([0, 0, 0, 1], [1, 1, -1, 0])  # the second object's best overlaps it too little


def test_an_object_takes_its_best_box_from_one_that_overlaps_it_more():
    iou = [[0.9, 0.8, 0.0], [0.2, 0.6, 0.0]]
    assert match(REGIONS, iou) == ([0, 1, 0], [1, 1, 0])
    assert match(MaxIoUMatcher(0.5, 0.5), iou) == ([0, 0, 0], [1, 1, 0])


def test_of_two_objects_with_one_best_box_the_later_takes_it():
    assert match(REGIONS, [[0.6, 0.0], [0.9, 0.1], [0.55, 0.2]]) == ([2, 2], [1, 0])


def test_without_objects_all_is_background_and_without_boxes_there_is_nothing():
    matches, labels = ANCHORS(torch.zeros(0, 3))
    assert (matches.tolist(), labels.tolist()) == ([0, 0, 0], [0, 0, 0])
    matches, labels = ANCHORS(torch.zeros(2, 0))
    assert (len(matches), len(labels)) == (0, 0)


@given(st.lists(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), min_size=1, max_size=5))
def test_no_object_with_a_good_box_goes_without_unless_another_takes_it(rows):
    iou = torch.tensor(rows)
    matches, labels = ANCHORS(iou)
    for index, row in enumerate(iou):
        best = (row == row.max()).nonzero()[:, 0]
        if row.max() >= 0.3:
            assert (labels[best] == 1).all()
            assert (matches[best] >= index).all()
    left = torch.ones(4, dtype=torch.bool)
    left[(iou == iou.max(dim=1, keepdim=True).values).any(dim=0)] = False
    assert torch.equal(matches[left], iou.argmax(dim=0)[left])


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (0.5, 0.0), (1.5, 0.5)])
def test_bad_thresholds(thresholds):
    with pytest.raises(ValueError, match=f"{thresholds[1]} and {thresholds[0]}"):
        MaxIoUMatcher(*thresholds)


# Masks


def test_masks_of_samples_are_those_of_their_objects():
    targets = rcnn_input(objects=3)["instances"]
    of_samples = torch.tensor([2, 0, 2, 1])
    boxes = torch.tensor([[3.3, 5.1, 60.2, 41.0], [0, 0, 96, 64], [20.5, 1.5, 44.0, 62.0], [70, 50, 71, 51]])
    shared = SharedMasks(targets.gt_masks.tensor, of_samples)
    expected = BitMasks(targets.gt_masks.tensor[of_samples]).crop_and_resize(boxes, 7)
    assert len(shared) == 4
    assert torch.equal(shared.crop_and_resize(boxes, 7), expected)
    assert torch.equal(shared[torch.tensor([3, 1])].crop_and_resize(boxes[[3, 1]], 7), expected[[3, 1]])
    assert expected.any()
    assert not expected.all()


# Samples


def sample(boxes, targets, num_samples=8, matcher=REGIONS):
    return sample_proposals(
        Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)), targets, matcher=matcher, num_classes=5,
        num_samples=num_samples, positive_fraction=0.25,
    )  # fmt: skip


def two_objects():
    targets = Instances((50, 50))
    targets.gt_boxes = Boxes(torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]]))
    targets.gt_classes = torch.tensor([3, 1])
    targets.gt_masks = BitMasks(torch.zeros(2, 50, 50, dtype=torch.bool))
    return targets


def test_samples_have_the_class_and_box_of_their_object():
    near, far = [21, 20, 40, 40], [0, 30, 10, 45]
    samples = sample([far, near], two_objects(), num_samples=16)
    known = {tuple(box): (label, own) for box, label, own in zip(
        samples.proposal_boxes.tensor.tolist(), samples.gt_classes.tolist(), samples.is_object.tolist(), strict=True
    )}  # fmt: skip
    assert known == {
        (0.0, 0.0, 10.0, 10.0): (3, True),
        (20.0, 20.0, 40.0, 40.0): (1, True),
        (21.0, 20.0, 40.0, 40.0): (1, False),
        (0.0, 30.0, 10.0, 45.0): (5, False),
    }
    row = samples.proposal_boxes.tensor.tolist().index(near)
    assert samples.gt_boxes.tensor[row].tolist() == [20, 20, 40, 40]
    assert samples.gt_masks.objects[row] == 1


def test_the_objects_do_not_keep_their_best_proposal_from_being_theirs():
    """Matched after them, the proposal would overlap the first object more and go to it."""
    targets = two_objects()
    targets.gt_boxes = Boxes(torch.tensor([[0.0, 0, 10, 20], [0, 0, 10, 10]]))
    samples = sample([[0, 0, 10, 17], [0, 0, 9, 20]], targets, num_samples=16)
    rows = samples.proposal_boxes.tensor.tolist()
    assert samples.gt_classes[rows.index([0, 0, 10, 17])] == 1  # IoU 0.85 and 0.59, the best of the second


def test_numbers_of_samples():
    draws = torch.Generator().manual_seed(0)
    boxes = torch.rand(40, 4, generator=draws) * 10 + torch.tensor([40.0, 0, 40, 0])
    boxes[:, 2:] += boxes[:, :2]
    good = torch.tensor([[20.0, 20, 40, 40]]) + torch.rand(10, 4, generator=draws)
    samples = sample(torch.cat([boxes, good]).tolist(), two_objects(), num_samples=16)
    assert len(samples) == 16
    assert (samples.gt_classes < 5).sum() == 4


def test_without_objects_all_samples_are_background():
    nothing = two_objects()[torch.zeros(0, dtype=torch.int64)]
    samples = sample([[0, 0, 5, 5], [1, 1, 9, 9]], nothing)
    assert samples.gt_classes.tolist() == [5, 5]
    assert not samples.is_object.any()
    assert not samples.has("gt_boxes")
    assert len(sample([], nothing)) == 0
    assert len(sample([], two_objects())) == 2

"""The suppression of exported graphs makes torchvision's decisions."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms
from torchvision.ops.boxes import _batched_nms_vanilla

from focalnet_d2.modeling.rcnn.exported_suppression import largest_float, pick_detections, unsuppressed

THRESHOLDS = st.sampled_from([0.0, 0.2, 0.3, 0.5, 0.6, 0.7, 1.0])
SEEDS = st.integers(0, 2**32 - 1)


def _boxes(draws: torch.Generator, *shape: int) -> torch.Tensor:
    """(*shape, 4) with corners on a small grid, so that IoUs equal a threshold and boxes have no area."""
    corners = torch.randint(7, (*shape, 2, 2), generator=draws)
    return torch.cat([corners.amin(-2), corners.amax(-2)], dim=-1).float()


@given(seed=SEEDS, count=st.integers(1, 40), threshold=THRESHOLDS)
@settings(max_examples=60)
def test_kept_boxes_are_those_of_torchvision(seed, count, threshold):
    draws = torch.Generator().manual_seed(seed)
    boxes, valid = _boxes(draws, 2, count), torch.rand(2, count, generator=draws) > 0.2
    found = unsuppressed(boxes, valid, threshold)
    for group, allowed, kept in zip(boxes, valid, found, strict=True):
        best_first = torch.arange(int(allowed.sum()), 0, -1).float()
        expected = allowed.nonzero()[:, 0][nms(group[allowed], best_first, threshold)]
        assert kept.nonzero()[:, 0].tolist() == sorted(expected.tolist())


def test_a_chain_of_boxes_each_of_which_overlaps_the_next():
    """The longest way to the end: every second box stays, and that is known of a box once it is of those before."""
    left = torch.arange(200.0)
    boxes = torch.stack([left, torch.zeros(200), left + 2, torch.ones(200)], dim=1)[None]
    kept = unsuppressed(boxes, torch.ones(1, 200, dtype=torch.bool), 0.3)
    assert kept[0].tolist() == [True, False] * 100


@given(seed=SEEDS, rows=st.integers(1, 12), count=st.integers(1, 30), threshold=THRESHOLDS)
@settings(max_examples=60)
def test_picked_detections_are_those_of_torchvision(seed, rows, count, threshold):
    draws = torch.Generator().manual_seed(seed)
    boxes = _boxes(draws, 2, rows, 3)
    scores = torch.randperm(2 * rows * 3, generator=draws).reshape(2, rows, 3) / (6 * rows)
    found, places = pick_detections(boxes, scores, count, score_threshold=0.25, nms_threshold=threshold)
    assert found.shape == places.shape == (2, count)
    for image in range(2):
        row, class_id = (scores[image] > 0.25).nonzero(as_tuple=True)
        kept = _batched_nms_vanilla(boxes[image, row, class_id], scores[image, row, class_id], class_id, threshold)
        kept = kept[:count]
        assert found[image].tolist() == scores[image, row, class_id][kept].tolist() + [0.0] * (count - len(kept))
        assert places[image, : len(kept)].tolist() == (row * 3 + class_id)[kept].tolist()


@given(threshold=st.floats(0, 1))
def test_comparing_with_the_largest_float_is_comparing_with_the_number(threshold):
    limit = np.float32(largest_float(threshold))
    for value in (np.nextafter(limit, np.float32(-1)), limit, np.nextafter(limit, np.float32(2))):
        assert (value > limit) == (float(value) > threshold)

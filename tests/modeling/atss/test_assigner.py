"""Anchors and their objects, worked out by hand, and what holds for any objects."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.modeling.atss.assigner import (
    assign_anchors,
    box_centers,
    cells_of_images,
    centerness,
    nearest_anchors,
    side_distances,
    square_anchors,
)

CPU = torch.device("cpu")
FAR = [[100.0, 100.0, 110.0, 110.0], [200.0, 200.0, 210.0, 210.0], [300.0, 300.0, 310.0, 310.0]]


def boxes(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_anchors_are_centerd_on_multiples_of_the_stride_row_by_row():
    anchors = square_anchors((2, 3), 16, torch.zeros(1))
    assert anchors.shape == (6, 4)
    assert box_centers(anchors).tolist() == [[0, 0], [16, 0], [32, 0], [0, 16], [16, 16], [32, 16]]
    assert anchors[1].tolist() == [16 - 64, -64, 16 + 64, 64]


def test_cells_of_an_image_end_where_its_own_padding_ends():
    """40 x 70 pixels are padded to 64 x 96: 4 x 6 cells of stride 16, 1 x 2 of stride 64."""
    fine = cells_of_images((8, 8), 16, [(40, 70), (128, 128)], CPU).view(2, 8, 8)
    assert fine[0, :4, :6].all()
    assert fine[0].sum() == 24
    assert fine[1].all()
    coarse = cells_of_images((2, 2), 64, [(40, 70), (128, 128)], CPU)
    assert coarse.tolist() == [[True, True, False, False], [True] * 4]


def test_nearest_anchors_are_nine_of_each_level_or_all():
    levels = [square_anchors((6, 6), 8, torch.zeros(1)), square_anchors((2, 2), 32, torch.zeros(1))]
    chosen = nearest_anchors(levels, boxes([10.0, 10.0, 22.0, 24.0]))  # centre 16, 17: cell (2, 2) of the first
    assert chosen.shape == (13, 1)
    ring = {6 * y + x for y in (1, 2, 3) for x in (1, 2, 3)}
    assert set(chosen[:9, 0].tolist()) == ring
    assert set(chosen[9:, 0].tolist()) == {36, 37, 38, 39}


def test_the_threshold_is_the_mean_plus_the_unbiased_deviation():
    """IoU 1, 0.9, 0, 0, 0: 0.38 + 0.5215 is above 0.9; with the biased deviation, 0.4665, it would be below."""
    levels = [boxes([0, 0, 10, 10], [0, 0, 10, 9]), boxes(*FAR)]
    assert assign_anchors(levels, boxes([0, 0, 10, 10])).tolist() == [0, -1, -1, -1, -1]
    levels[0][1, 3] = 9.5  # 0.39 + 0.5351: below 0.95
    assert assign_anchors(levels, boxes([0, 0, 10, 10])).tolist() == [0, 0, -1, -1, -1]


@pytest.mark.parametrize(("right", "owner"), [(10.0, -1), (10.005, -1), (10.03, 0)])
def test_the_center_lies_inside_by_a_hundredth_of_a_pixel(right, owner):
    """The anchor's centre is at x = 10; its IoU of a half is far above the threshold."""
    levels = [boxes([0, 0, 20, 10]), boxes(*FAR, [400, 400, 410, 410])]
    assert assign_anchors(levels, boxes([0, 0, right, 10])).tolist()[0] == owner


def test_an_anchor_that_two_objects_want_goes_to_the_higher_iou():
    levels = [boxes([0, 0, 10, 10]), boxes(*FAR)]
    small, large = [1, 1, 9, 9], [0, 0, 10, 9]  # IoU 0.64 and 0.9
    assert assign_anchors(levels, boxes(small)).tolist()[0] == 0
    assert assign_anchors(levels, boxes(small, large)).tolist()[0] == 1
    assert assign_anchors(levels, boxes(large, small)).tolist()[0] == 0


def test_without_objects_no_anchor_is_taken():
    assert assign_anchors([boxes(*FAR), boxes(*FAR[:1])], torch.zeros(0, 4)).tolist() == [-1] * 4


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(4, 60), st.floats(4, 60)), min_size=1, max_size=5),
    st.integers(-3, 3),
)
def test_what_holds_for_any_objects(rows, shift):
    """Owners are around their anchors, none has more than 9 a level, and moving everything changes nothing."""
    objects = torch.tensor(rows, dtype=torch.float64)
    objects = torch.cat([objects[:, :2], objects[:, :2] + objects[:, 2:]], dim=1)
    levels = [square_anchors((160 // s, 160 // s), s, objects) for s in (8, 16, 32)]
    owner = assign_anchors(levels, objects)
    taken = owner >= 0
    centers = box_centers(torch.cat(levels))[taken]
    assert (side_distances(centers, objects[owner[taken]]) > 0.0099).all()
    for part in owner.split([len(level) for level in levels]):
        assert part[part >= 0].bincount(minlength=1).max() <= 9
    moved = assign_anchors([level + 64 * shift for level in levels], objects + 64 * shift)
    assert (moved == owner).float().mean() > 0.99  # float32 inside Detectron2's boxes may turn a tie


def test_centerness_by_hand():
    """The middle: 1; a quarter of the way along x: sqrt(1/3); 1 and 9 of 10, 2 and 8 of 10: sqrt(1/9 / 4)."""
    anchors = boxes([-5, -5, 5, 5], [-7.5, -5, 2.5, 5], [-9, -8, 1, 2])
    objects = boxes([-5, -5, 5, 5], [-5, -5, 5, 5], [-5, -5, 5, 5])
    found = centerness(anchors, objects)
    assert found.tolist() == pytest.approx([1.0, (1 / 3) ** 0.5, (1 / 9 * 2 / 8) ** 0.5])

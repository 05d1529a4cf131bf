"""Polygons, boxes and areas by the checks of labels, against plain ways to decide the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.annotations.box_forms import CORNERS, SHARES, BoxForms, boxes_and_sizes, in_pixels
from focalnet_d2.data.checks.instances import check_instances_of_image
from focalnet_d2.data.checks.polygons import crosses_itself, perimeter, shoelace_area
from focalnet_d2.data.checks.shapes import box_within, boxes_agree, mask_shape
from focalnet_d2.data.checks.tasks import LabelTask

numbers = st.integers(0, 8)
polygons = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=9)


def side(a, b, c):
    value = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (value > 0) - (value < 0)


def crosses(corners):
    """Every side with every other, in whole numbers."""
    sides = list(zip(corners, [*corners[1:], corners[0]]))
    return any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for index, (a, b) in enumerate(sides)
        for c, d in sides[:index]
    )


@settings(max_examples=150)
@given(corners=polygons)
def test_a_polygon_crosses_itself_if_two_of_its_sides_do(corners):
    assert crosses_itself(np.array(corners)) == crosses(corners)


@pytest.mark.parametrize("offset", [0, 1e6])
def test_area_and_length_of_a_polygon_wherever_it_lies(offset):
    corners = np.array([[0, 0], [4, 0], [4, 3], [0, 3]]) + offset
    assert (shoelace_area(corners), perimeter(corners)) == (12, 14)
    assert shoelace_area(np.array([[0, 0], [2, 2], [2, 0], [0, 2]])) == 0


def test_a_loop_that_hides_nothing_is_not_unclear():
    with_a_spike = [10, 10, 50, 10, 50, 50, 30, 50, 30.2, 51, 29.8, 51, 30, 50, 10, 50]
    assert crosses_itself(np.reshape(with_a_spike, (-1, 2))) is False
    tiny_loop = [10, 10, 50, 10, 50, 50, 29, 50, 30, 51, 29, 51, 30, 50, 10, 50]
    assert crosses_itself(np.reshape(tiny_loop, (-1, 2)))
    assert not mask_shape([tiny_loop], (80, 80)).is_unclear
    assert mask_shape([[10, 10, 50, 50, 50, 10, 10, 50]], (80, 80)).is_unclear


boxes = st.tuples(st.integers(0, 90), st.integers(0, 90), st.integers(1, 100), st.integers(1, 100))


def listed(rows):
    return [{"id": number, "image_id": 1, "bbox": list(row)} for number, row in enumerate(rows)]


IMAGES = [{"id": 1, "width": 100, "height": 100}]


def form_of(images, annotations):
    """The form of the boxes, and the places of those that are corners alone."""
    forms = BoxForms()
    only_corners = forms.add(*boxes_and_sizes(images, annotations))
    return forms.other_form, np.flatnonzero(only_corners).tolist()


@given(rows=st.lists(boxes, max_size=30))
def test_boxes_within_their_images_are_never_taken_for_another_form(rows):
    inside = [(x, y, min(width, 100 - x), min(height, 100 - y)) for x, y, width, height in rows]
    assert form_of(IMAGES, listed(inside)) == ("", [])


@settings(max_examples=40)
@given(seed=st.integers(0, 2**20), share=st.floats(0, 0.08))
def test_boxes_of_which_some_reach_beyond_are_not_taken_for_corners_and_corners_are(seed, share):
    random = np.random.RandomState(seed)
    start = random.randint(0, 80, (40, 2))
    sides = 1 + (random.rand(40, 2) * (99 - start)).astype(int)
    beyond = random.rand(40) < share
    rows = np.concatenate([start, sides + 60 * beyond[:, None]], axis=1)
    assert form_of(IMAGES, listed(rows.tolist()))[0] == ""
    corners = listed(np.concatenate([start, start + sides], axis=1).tolist())
    expected = [one["id"] for one in corners if max(one["bbox"][0] + one["bbox"][2], sum(one["bbox"][1::2])) > 111]
    assert form_of(IMAGES, corners) == (CORNERS, expected)


def test_files_with_boxes_of_both_kinds_are_not_converted():
    assert form_of(IMAGES, listed([[50, 50, 90, 90]] * 9))[0] == CORNERS
    assert form_of(IMAGES, listed([[50, 50, 90, 90]] * 9 + [[60, 60, 5, 5]]))[0] == ""


def test_boxes_around_whole_images_that_are_a_bit_too_large_are_no_corners():
    assert form_of(IMAGES, listed([[5, 5, 100, 100]] * 9)) == ("", [])


def test_boxes_of_images_without_a_size_are_not_judged():
    assert form_of([{"id": 1}], listed([[50, 50, 90, 90]] * 9 + [[0.1, 0.1, 0.5, 0.5]]))[0] == ""


@given(rows=st.lists(boxes, min_size=1, max_size=20))
def test_shares_of_sides_are_told_from_pixels_and_give_the_boxes_back(rows):
    inside = [(x, y, min(width, 100 - x), min(height, 100 - y)) for x, y, width, height in rows]
    shares = listed([[side / 100 for side in row] for row in inside])
    whole = all(side in (0, 100) for row in inside for side in row)
    assert form_of(IMAGES, shares)[0] == ("" if whole else SHARES)
    for row, share in zip(inside, shares, strict=True):
        assert in_pixels(share["bbox"], SHARES, (100, 100)) == pytest.approx(row)


def test_a_file_with_one_box_in_pixels_has_no_shares():
    assert form_of(IMAGES, listed([[0.1, 0.1, 0.5, 0.5], [3, 4, 20, 20]]))[0] == ""


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        ([2, 3, 4, 5], (20, 20), [2, 3, 4, 5]),
        ([-0.5, 3, 4, 5], (20, 20), [-0.5, 3, 4, 5]),
        ([-3, 3, 10, 30], (20, 20), [0, 3, 7, 17]),
        ([30, 3, 10, 5], (20, 20), [20, 3, 0, 5]),
    ],
)
def test_a_box_is_cut_off_where_it_reaches_beyond_by_more_than_rounding(box, size, expected):
    assert box_within(box, size) == expected


def test_boxes_agree_within_what_tools_round():
    assert boxes_agree([10, 10, 20, 20], [12, 10, 18, 21], (50, 50))
    assert not boxes_agree([10, 10, 20, 20], [14, 10, 16, 20], (50, 50))
    assert boxes_agree([10, 10, 200, 200], [10, 10, 220, 200], (500, 500))
    assert boxes_agree([-20, 10, 40, 20], [0, 10, 20, 20], (50, 50))  # alike within the image
    assert boxes_agree([10, 10, 20, 20], None, (50, 50))


def of_image(**values):
    entry = {"id": 7, "image_id": 1, "category_id": 2, "bbox": [10, 10, 20, 30], "iscrowd": 0, **values}
    entry.setdefault("segmentation", [[10, 10, 30, 10, 30, 40, 10, 40]])
    task = LabelTask("instances", "truth.json", 1, "1.png", {"id": 1, "height": 60, "width": 80}, [entry])
    findings = check_instances_of_image(task)
    assert findings.counts == {("class", 2): 1}
    return [(fault.kind, fault.severity) for fault in findings.faults]


@pytest.mark.parametrize("area", [600, 600.0, 651, 555, None])
def test_areas_counted_in_any_usual_way_are_right(area):
    assert of_image(area=area) == []


@pytest.mark.parametrize("area", [300, 30, 1800])
def test_other_areas_are_wrong_but_for_those_of_crowds(area):
    assert of_image(area=area) == [("area-wrong", "warning")]
    assert of_image(area=area, iscrowd=1) == []


def test_the_area_of_a_box_is_but_a_note():
    triangle = [[10, 10, 30, 10, 10, 40]]
    assert of_image(area=600, segmentation=triangle) == [("area-of-box", "note")]
    assert of_image(area=300, segmentation=triangle) == []


@pytest.mark.parametrize("area", [600, 651, 80, None])
def test_areas_of_objects_without_masks_fit_into_their_boxes(area):
    assert of_image(area=area, segmentation=None) == []


@pytest.mark.parametrize("area", [30, 1800])
def test_other_areas_of_objects_without_masks_are_wrong(area):
    assert of_image(area=area, segmentation=None) == [("area-wrong", "warning")]


def test_a_mask_outside_of_the_image_is_empty():
    assert of_image(bbox=[100, 10, 20, 30], segmentation=[[100, 10, 120, 10, 120, 40, 100, 40]]) == [
        ("mask-empty", "warning")
    ]

"""Drawn boxes lie where they should, in the colour of their class."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from focalnet_d2.reports.visualization import class_color, comparison_grid, draw_detections, draw_panoptic

CLASSES = ("disk", "star")


def gray(height=100, width=140):
    return np.full((height, width, 3), 128, np.uint8)


def predictions(*scores, box=(20, 30, 80, 90)):
    count = len(scores)
    return Instances(
        (100, 140),
        pred_boxes=Boxes(torch.tensor([box] * count, dtype=torch.float32).reshape(-1, 4)),
        pred_classes=torch.tensor([i % 2 for i in range(count)], dtype=torch.int64),
        scores=torch.tensor(scores),
    )


def rows_and_columns(image, color):
    return np.nonzero((np.abs(image.astype(int) - color) < 3).all(axis=-1))


def test_box_is_drawn_at_its_place():
    drawn = draw_detections(gray(), predictions(0.9), CLASSES, min_side=100)
    rows, columns = rows_and_columns(drawn, class_color(0))
    assert (columns.min(), columns.max()) == (20, 79)
    assert rows.max() == 89
    assert abs(drawn[60, 50].astype(int) - 128).max() == 0, "the inside stays visible"


def test_small_images_are_enlarged_with_their_boxes():
    drawn = draw_detections(gray(), predictions(0.9), CLASSES, min_side=400)
    assert drawn.shape == (400, 560, 3)
    _, columns = rows_and_columns(drawn, class_color(0))
    assert (columns.min(), columns.max()) == (80, 319)


def test_large_images_keep_their_size():
    assert draw_detections(gray(500, 600), predictions(), CLASSES).shape == (500, 600, 3)


def test_threshold_leaves_out_predictions_but_never_targets():
    image = gray()
    assert np.array_equal(draw_detections(image, predictions(0.4), CLASSES, min_side=100), image)
    assert not np.array_equal(draw_detections(image, predictions(0.4), CLASSES, 0.3, min_side=100), image)
    targets = Instances((100, 140), gt_boxes=Boxes(torch.tensor([[5.0, 5, 50, 50]])), gt_classes=torch.tensor([1]))
    drawn = draw_detections(image, targets, CLASSES, min_side=100)
    assert len(rows_and_columns(drawn, class_color(1))[0]) > 50


def test_nothing_to_draw():
    image = gray()
    assert np.array_equal(draw_detections(image, predictions(), CLASSES, min_side=100), image)
    assert np.array_equal(image, gray()), "the input stays unchanged"


@pytest.mark.parametrize("box", [(-30, -40, 500, 400), (139.8, 99.9, 140, 100), (150, 120, 180, 130), (3, 3, 3, 3)])
def test_boxes_at_and_beyond_the_border(box):
    assert draw_detections(gray(), predictions(0.9, box=box), CLASSES).shape[2] == 3


def test_colors_of_many_classes_differ():
    colors = {class_color(i) for i in range(40)}
    assert len(colors) == 40


def two_segments():
    """Left half segment 300 of class 1, a column without, and right a crowd of class 0."""
    ids = np.full((100, 140), 7)
    ids[:, :70], ids[:, 70] = 300, 0
    return ids, [{"id": 300, "category_id": 1}, {"id": 7, "category_id": 0, "iscrowd": 1}]


def test_segments_are_filled_with_the_color_of_their_class_and_outlined():
    drawn = draw_panoptic(gray(), *two_segments(), CLASSES, min_side=100)
    for corner, class_index in (((2, 2), 1), ((97, 137), 0)):
        expected = 0.4 * 128 + 0.6 * np.array(class_color(class_index))
        assert np.abs(drawn[corner] - expected).max() <= 0.5
    assert (drawn[2, 69:71] == 255).all()
    assert (drawn[2, 68] != 255).any()


def test_segments_have_their_name_unless_they_are_small():
    ids, segments = two_segments()
    plain = draw_panoptic(gray(), ids, segments, ("", ""), min_side=100)
    assert not np.array_equal(plain, draw_panoptic(gray(), ids, segments, CLASSES, min_side=100))
    small = np.zeros((100, 140), int)
    small[:8, :8] = 7
    arguments = (gray(), small, segments[1:])
    assert np.array_equal(draw_panoptic(*arguments, ("", "")), draw_panoptic(*arguments, CLASSES))


def test_panoptic_maps_grow_with_their_image():
    drawn = draw_panoptic(gray(), *two_segments(), CLASSES, min_side=300)
    assert drawn.shape == (300, 420, 3)
    assert np.abs(drawn[5, 200] - (0.4 * 128 + 0.6 * np.array(class_color(1)))).max() <= 0.5


def test_grid_places_truth_left_and_prediction_right(tmp_path):
    pairs = [(np.full((50, 60, 3), 10 * i, np.uint8), np.full((50, 60, 3), 10 * i + 5, np.uint8)) for i in range(3)]
    path = comparison_grid(pairs, tmp_path / "new" / "grid.png")
    sheet = np.asarray(Image.open(path))
    positions = {}
    for value in (0, 5, 10, 15, 20, 25):
        rows, columns = np.nonzero((sheet == value).all(axis=-1))
        positions[value] = (rows.min(), columns.min())
        assert len(rows) >= 50 * 60
    assert positions[0][1] < positions[5][1] < positions[10][1] < positions[15][1]
    assert positions[0][0] == positions[15][0] < positions[20][0]
    assert positions[0][1] == positions[20][1]


def test_grid_of_different_sizes_and_of_none(tmp_path):
    comparison_grid([(gray(40, 80), gray(60, 50))], tmp_path / "grid.png")
    with pytest.raises(ValueError, match=r"no images to draw into .*none\.png"):
        comparison_grid([], tmp_path / "none.png")


def test_grid_with_more_than_two_images_in_a_group(tmp_path):
    titles = ("a", "b", "c")
    path = comparison_grid([(gray(),) * 3] * 2, tmp_path / "grid.png", titles=titles, groups_per_line=1)
    width, height = Image.open(path).size
    assert width > 3 * 140
    assert height > 2 * 100
    with pytest.raises(ValueError, match="3 images"):
        comparison_grid([(gray(),)], path, titles=titles)

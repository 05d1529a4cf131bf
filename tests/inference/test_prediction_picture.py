"""Pictures: every kind of result shows, in the colors of the classes; labels are inside, apart, and readable."""

import io
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont
from scipy.ndimage import distance_transform_edt

from focalnet_d2.data.class_map import class_map
from focalnet_d2.inference.picture_labels import (
    LabelPlaces,
    TextStyle,
    corners_at_box,
    middles_of_regions,
    shortened,
)
from focalnet_d2.inference.prediction import Prediction, Segment

pytest.importorskip("supervision")

NAMES = ["sun", "a very long name of a class that nobody wants to read in full", "grass"]
COLORS = [(250, 240, 10), (200, 0, 0), (0, 160, 60)]
CLASSES = class_map([5, 6, 7], NAMES, things=[True, True, False], colors=COLORS)
STYLE = TextStyle(ImageFont.load_default(14), 4)


def prediction_of(kind: str, size: tuple[int, int] = (60, 90), gray: int = 128) -> Prediction:
    """Two objects: class 0 in the left half, class 1 in the right quarter; class 2 elsewhere."""
    height, width = size
    image = np.full((height, width, 3), gray, np.uint8)
    boxes = np.array([[0, height // 4, width // 2, height], [width * 3 // 4, 0, width, height // 2]], np.float32)
    masks = np.zeros((2, height, width), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int)):
        mask[top:bottom, left:right] = True
    ids = np.where(masks[0], 4, np.where(masks[1], 9, 1)).astype(np.int32)
    segments = (Segment(9, 1, True), Segment(4, 0, True), Segment(1, 2, False))
    objects = {"boxes": boxes, "scores": np.array([0.9, 0.7], np.float32), "class_ids": np.array([0, 1])}
    results = {
        "boxes": objects,
        "masks": {**objects, "masks": masks},
        "panoptic": {"panoptic_map": ids, "segments": segments},
        "semantic": {"semantic_map": np.where(masks[0], 0, np.where(masks[1], 1, 2)).astype(np.int32)},
        "classes": {"class_scores": np.array([0.2, 0.7, 0.1], np.float32)},
    }
    return Prediction(image, CLASSES, **results[kind])


@pytest.mark.parametrize("gray", [0, 255])
@pytest.mark.parametrize("kind", ["boxes", "masks", "panoptic", "semantic"])
def test_every_kind_shows_its_classes_in_their_colors(kind, gray):
    picture = prediction_of(kind, gray=gray).plot()
    assert picture.dtype == np.uint8
    for color in COLORS[: 3 if kind in ("panoptic", "semantic") else 2]:
        assert (picture == color).all(axis=2).any()
    middle = picture[picture.shape[0] * 5 // 8, picture.shape[1] // 8]  # of the first object, beside its label
    is_filled = bool((middle != gray).any())
    assert is_filled == (kind != "boxes")


@pytest.mark.parametrize(
    ("size", "shown"), [((60, 90), (400, 600)), ((10, 1000), (20, 2000)), ((500, 700), (500, 700))]
)
def test_small_images_are_enlarged_and_large_ones_are_not(size, shown):
    for kind in ("masks", "classes"):
        assert prediction_of(kind, size).plot().shape == (*shown, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("kind", ["boxes", "masks", "panoptic", "semantic", "classes"])
def test_images_of_one_row_are_drawn(kind, shape):
    assert prediction_of(kind, shape).plot().ndim == 3


def test_nothing_found_is_the_image():
    empty = Prediction(np.full((500, 600, 3), 9, np.uint8), CLASSES, boxes=np.zeros((0, 4), np.float32),
                       scores=np.zeros(0, np.float32), class_ids=np.zeros(0, np.int64))  # fmt: skip
    assert np.array_equal(empty.plot(), empty.image)
    unknown = Prediction(empty.image, CLASSES, panoptic_map=np.zeros((500, 600), np.int32))
    assert np.array_equal(unknown.plot(), unknown.image)


def test_text_grows_with_the_image():
    """The label of a box is as high a share of a large picture as of a small one."""
    heights = []
    for size in ((400, 600), (1600, 2400)):
        found = prediction_of("boxes", size)
        rows = (found.plot() == COLORS[0]).all(axis=2).sum(axis=1) > 0.03 * size[1]
        heights.append(rows[: size[0] // 2].sum() / size[0])
    assert heights[0] > 0.02
    assert heights[1] == pytest.approx(heights[0], rel=0.3)


def test_a_font_that_does_not_exist_is_named():
    with pytest.raises(FileNotFoundError, match="none.ttf does not exist"):
        prediction_of("boxes").plot(font="none.ttf")


def test_notebooks_show_a_png_of_moderate_size():
    content = prediction_of("masks", (1200, 3000))._repr_png_()
    assert Image.open(io.BytesIO(content)).size == (1000, 400)


def test_nobody_is_told_about_opencv():
    code = "from focalnet_d2.inference.supervision_library import load_supervision; load_supervision('This')"
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


@given(text=st.text(min_size=1, max_size=80), widest=st.integers(60, 300))
def test_shortened_texts_fit_and_keep_their_ending(text, widest):
    short = shortened(text, " 87", STYLE, widest)
    assert short.endswith(" 87")
    assert "\n" not in short
    assert STYLE.font.getlength(short) <= widest or short[1:] == "… 87"


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
def test_labels_are_inside_and_apart(seed, count):
    draws = np.random.default_rng(seed)
    places, taken = LabelPlaces(200, 120), np.zeros((120, 200), int)
    for _ in range(count):
        size = tuple(draws.integers(1, 60, 2).tolist())
        box = np.sort(draws.uniform(-50, 250, (2, 2)), axis=0).ravel().tolist()
        place = places.take(corners_at_box(box, size), size)
        if place is not None:
            left, top, right, bottom = place
            assert (right - left, bottom - top) == size
            assert min(left, top) >= 0
            assert right <= 200
            assert bottom <= 120
            taken[top:bottom, left:right] += 1
    assert taken.max() == 1


def test_a_label_that_is_larger_than_the_picture_has_no_place():
    assert LabelPlaces(30, 30).take([(0, 0)], (31, 5)) is None


def test_the_middle_of_a_region_is_its_deepest_point():
    regions = np.full((40, 60), -1)
    regions[5:25, 10:50] = 0  # 20 high
    regions[5:8, :10] = 0  # a thin part
    regions[30:33, 30:33] = 1
    (x, y, depth), (x_small, y_small, _), missing = middles_of_regions(regions, 3)
    assert 15 <= x <= 45
    assert y == pytest.approx(15, abs=1)
    assert depth == pytest.approx(10, abs=1)
    assert (x_small, y_small) == (31.5, 31.5)
    assert missing[2] == 0


def test_middles_are_those_of_each_region_in_the_whole_map():
    draws = np.random.default_rng(0)
    regions = draws.integers(-1, 6, (6, 9)).repeat(5, 0).repeat(4, 1)
    for index, found in enumerate(middles_of_regions(regions, 8)):
        depth = distance_transform_edt(np.pad(regions == index, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        assert found == (x + 0.5, y + 0.5, max(depth[y, x] - 0.5, 0))


@pytest.mark.parametrize("kind", ["masks", "panoptic", "semantic"])
def test_drawing_takes_few_bytes_for_each_pixel(kind):
    side, found = 1000, prediction_of(kind, (1000, 1000))
    found.plot()  # what is imported and loaded once does not count
    tracemalloc.start()
    found.plot()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak / side**2 < 45  # supervision alone takes 60 for a region in one piece


@pytest.mark.parametrize("size", [(3000, 2), (2, 3000), (1, 1)])
@pytest.mark.parametrize("kind", ["masks", "panoptic", "semantic", "classes"])
def test_images_of_any_shape_have_pictures(kind, size):
    picture = prediction_of(kind, size).plot()
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= size[0]
    assert picture.shape[1] >= size[1]

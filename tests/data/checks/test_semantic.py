"""What the values of label files mean, as a table, and lists of classes that they do not fit."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.checks.labels import check_image_labels
from focalnet_d2.data.checks.semantic import are_masks_of_255, counted_from_one, value_table
from focalnet_d2.data.checks.tasks import RecipeLimits, tasks_of
from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.folders.image_lists import read_part
from tests.data.checks.label_sets import HEIGHT, WIDTH, faults_in, write_images

CLASSES = class_map([0, 1, 2], ["ground", "tree", "water"], things=False)


def test_the_table_names_each_value_and_its_share():
    counts = Counter({("value", 1): 60, ("value", 255): 30, ("value", 9): 10, ("class", 1): 5})
    assert value_table(CLASSES, {255}, counts) == [(1, "tree", 0.6), (9, "unknown", 0.1), (255, "ignored", 0.3)]
    assert value_table(CLASSES, {255}, Counter()) == []


@pytest.mark.parametrize(
    ("used", "expected"), [({1, 2, 3}, True), ({1, 3}, True), ({0, 1, 3}, False), ({1, 2}, False), (set(), False)]
)
def test_values_that_count_from_1(used, expected):
    assert counted_from_one(CLASSES, used) == expected
    assert not counted_from_one(class_map([1, 2, 3], ["a", "b", "c"]), used)


@pytest.mark.parametrize(("used", "expected"), [({0, 255}, True), ({0, 1, 255}, False), ({255}, False)])
def test_values_of_black_and_white_masks(used, expected):
    assert are_masks_of_255(CLASSES, used) == expected
    assert not are_masks_of_255(class_map([0, 255], ["a", "b"]), used)


def write_colors(root, strange):
    """Label files of two colors; in one file a third that no class has, if that is wanted."""
    write_images(root / "images")
    (root / "labels").mkdir()
    for path in (root / "images").iterdir():
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[:, :30] = (200, 10, 10)
        if strange and path.stem == "5":
            pixels[3, 3] = (1, 2, 3)
        Image.fromarray(pixels).save(root / "labels" / path.name)
    (root / "labelmap.txt").write_text("ground:0,0,0::\nroad:200,10,10::\n")


def test_colors_are_counted_as_their_classes(tmp_path):
    write_colors(tmp_path / "set", strange=False)
    assert faults_in(tmp_path / "set") == []
    (dataset,) = find_datasets(tmp_path / "set")
    task = next(tasks_of(dataset, "train", read_part(dataset, "train"), RecipeLimits()))
    half = HEIGHT * WIDTH // 2
    assert check_image_labels(task).counts == {("value", 0): half, ("value", 1): half}


def test_a_color_of_no_class_is_named(tmp_path):
    write_colors(tmp_path / "set", strange=True)
    (fault,) = faults_in(tmp_path / "set")
    assert (fault.kind, fault.ids) == ("label-value-unknown", ("5.png",))
    assert "(1, 2, 3)" in fault.message

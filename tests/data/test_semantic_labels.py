"""Semantic label files: exact values of every kind that holds labels, and an error for the others."""

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.semantic_labels import check_some_label, read_semantic_labels
from tests.data.segmentation_files import save_label


def test_labels_of_every_depth(tmp_path):
    for dtype, values in ((np.uint8, [0, 149, 255]), (np.uint16, [0, 846, 65535])):
        Image.fromarray(np.array([values], dtype)).save(tmp_path / "a.png")
        assert read_semantic_labels(tmp_path / "a.png").tolist() == [values]


def test_the_index_of_a_palette_is_the_label(tmp_path):
    image = Image.fromarray(np.array([[2, 0, 1]], np.uint8), "P")
    image.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    image.save(tmp_path / "p.png")
    assert read_semantic_labels(tmp_path / "p.png").tolist() == [[2, 0, 1]]


def test_colors_and_missing_files_are_named(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="rgb.png has pixels .* one channel"):
        read_semantic_labels(tmp_path / "rgb.png")
    with pytest.raises(FileNotFoundError, match="none.png"):
        read_semantic_labels(tmp_path / "none.png")


def test_a_data_set_in_which_every_pixel_is_ignored_is_refused(tmp_path):
    ignored, labelled = (
        {"sem_seg_file_name": save_label(tmp_path / f"{name}.png", [[255, value]])}
        for name, value in (("ignored", 255), ("labelled", 0))
    )
    check_some_label("small", [ignored, labelled, {"sem_seg_file_name": "never/read.png"}], 255)
    check_some_label("unlabelled", [], 255)
    with pytest.raises(
        ValueError, match=r"small has no labels: every pixel of its 2 label files, .*ignored\.png for one"
    ):
        check_some_label("small", [ignored, ignored], 255)
    check_some_label("small", [ignored], 0)

"""Semantic targets: one mask for every class in sight."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform
from PIL import Image

from focalnet_d2.data.mappers import SemanticMaskMapper
from tests.data.segmentation_files import panoptic_record, save_image, save_label

LABELS = [[2, 2, 255, 0], [2, 1, 255, 0]]


def targets(folder, labels=LABELS, *, num_classes=3, augmentations=(), dtype=np.uint8, **arguments):
    record = {"file_name": save_image(folder / "image.png", len(labels), len(labels[0]))}
    record["sem_seg_file_name"] = save_label(folder / "labels.png", labels, dtype)
    mapper = SemanticMaskMapper(True, augmentations=augmentations, num_classes=num_classes, **arguments)
    return mapper(record)["instances"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_one_target_for_every_class_in_the_image(tmp_path, dtype):
    instances = targets(tmp_path, dtype=dtype)
    assert instances.gt_classes.tolist() == [0, 1, 2]
    assert instances.gt_masks.tensor.int().tolist() == [
        [[0, 0, 0, 1], [0, 0, 0, 1]],
        [[0, 0, 0, 0], [0, 1, 0, 0]],
        [[1, 1, 0, 0], [1, 0, 0, 0]],
    ]
    assert instances.gt_boxes.tensor.tolist() == [[3, 0, 4, 2], [1, 1, 2, 2], [0, 0, 2, 2]]


def test_classes_that_left_the_crop_are_no_targets(tmp_path):
    instances = targets(tmp_path, augmentations=[CropTransform(0, 0, 1, 2, 4, 2)])
    assert instances.gt_classes.tolist() == [2]
    assert instances.gt_masks.tensor.all()


def test_image_without_labels_has_no_targets(tmp_path):
    instances = targets(tmp_path, [[255, 255]] * 3, augmentations=[T.Resize((5, 7))])
    assert instances.gt_masks.tensor.shape == (0, 5, 7)
    assert instances.gt_boxes.tensor.shape == (0, 4)


def test_palette_labels_are_the_indices(tmp_path):
    record = {"file_name": save_image(tmp_path / "image.png", 1, 2), "sem_seg_file_name": str(tmp_path / "labels.png")}
    labels = Image.fromarray(np.array([[1, 0]], np.uint8), mode="P")
    labels.putpalette([90, 90, 90, 200, 0, 0])
    labels.save(record["sem_seg_file_name"])
    instances = SemanticMaskMapper(True, augmentations=[], num_classes=2)(record)["instances"]
    assert instances.gt_masks.tensor.int().tolist() == [[[0, 1]], [[1, 0]]]


def test_classes_come_from_the_panoptic_png_where_there_is_no_label_map(tmp_path):
    record = panoptic_record(tmp_path, [[9, 9, 500], [0, 70000, 500]], [(9, 2, 0), (500, 0, 0), (70000, 2, 1)])
    instances = SemanticMaskMapper(True, augmentations=[], num_classes=3)(record)["instances"]
    assert instances.gt_classes.tolist() == [0, 2]
    assert instances.gt_masks.tensor.int().tolist() == [[[0, 0, 1], [0, 0, 1]], [[1, 1, 0], [0, 1, 0]]]


@pytest.mark.parametrize(
    ("labels", "dtype", "found"), [([[0, 3], [254, 3]], np.uint8, "3, 254"), ([[1, 700]], np.uint16, "700")]
)
def test_label_that_is_no_class_names_file_and_label(tmp_path, labels, dtype, found):
    with pytest.raises(ValueError, match=rf"labels\.png holds the labels {found}; allowed are 0 to 2 and 255"):
        targets(tmp_path, labels, dtype=dtype)


def test_other_label_for_pixels_without_a_class(tmp_path):
    instances = targets(tmp_path, [[300, 299, 65535]], num_classes=301, ignore_label=65535, dtype=np.uint16)
    assert instances.gt_classes.tolist() == [299, 300]


def test_ignore_label_cannot_be_a_class():
    with pytest.raises(ValueError, match="ignore_label=255 must not be one of the num_classes=256 classes"):
        SemanticMaskMapper(True, augmentations=[], num_classes=256)


def test_color_image_is_no_label_map(tmp_path):
    record = {"file_name": save_image(tmp_path / "image.png", 1, 2), "sem_seg_file_name": str(tmp_path / "image.png")}
    with pytest.raises(ValueError, match=r"image\.png has pixels of Pillow's mode 'RGB'"):
        SemanticMaskMapper(True, augmentations=[], num_classes=2)(record)

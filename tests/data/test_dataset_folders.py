"""Data sets of one's own are registered by one call for each kind."""

import pytest
from detectron2.data import MetadataCatalog

from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts, load_dataset
from focalnet_d2.data.datasets import register_folder, register_instances, register_semantic_folder
from focalnet_d2.data.semantic_labels import read_record_labels
from tests.data.folders.folder_sets import save_images, save_label, write_coco, write_panoptic

NAMES = ["a.jpg", "b.jpg", "c.jpg"]


def test_a_folder_of_any_layout(tmp_path):
    write_panoptic(tmp_path, "train", count=5)
    assert register_folder("pets", tmp_path, kind="instances") == "pets"
    assert len(get_detection_dataset_dicts("pets")) == 4
    register_folder("pets", tmp_path, "val")
    assert len(load_dataset("pets")) == 1
    assert MetadataCatalog.get("pets").evaluator_type == "coco_panoptic_seg"
    with pytest.raises(ValueError, match=r"has the parts train, val, not 'test'"):
        register_folder("pets", tmp_path, "test")
    write_coco(tmp_path, "annotations/instances_train.json", {"train_0.jpg": "train/train_0.jpg"})
    with pytest.raises(ValueError, match=r"holds instances and panoptic: choose by kind='instances'"):
        register_folder("pets", tmp_path)


def test_instances(tmp_path):
    write_coco(tmp_path, "labels.json", {name: f"images/{name}" for name in NAMES})
    register_instances("pets", tmp_path / "labels.json", tmp_path / "images")
    assert len(get_detection_dataset_dicts("pets")) == 3


@pytest.mark.parametrize(
    ("classes", "ignore_value", "values", "labels"),
    [
        (["sky", "sea"], 255, (0, 1, 255), {0, 1, 255}),
        ({3: "sky", 7: "sea"}, 0, (0, 3, 7), {0, 1, 255}),
        (["sky", "sea"], None, (0, 1), {0, 1}),
    ],
)
def test_semantic_labels(tmp_path, classes, ignore_value, values, labels):
    save_images(tmp_path / "photos", NAMES)
    for name in NAMES:
        save_label(tmp_path / "maps" / name.replace(".jpg", "_mask.png"), values)
    register_semantic_folder("sea", tmp_path / "photos", tmp_path / "maps", classes, ignore_value)
    records = get_segmentation_dataset_dicts("sea")
    assert len(records) == 3
    assert set(read_record_labels(records[0]).ravel().tolist()) == labels
    assert MetadataCatalog.get("sea").stuff_classes == ["sky", "sea"]


def test_folders_that_are_missing_or_swapped_are_said(tmp_path):
    save_images(tmp_path / "photos", NAMES)
    for name in NAMES:
        save_label(tmp_path / "maps" / name.replace(".jpg", ".png"), (0, 1))
    folders = {"photos": tmp_path / "photos", "maps": tmp_path / "maps", "none": tmp_path / "none"}
    for images, labels, message in (
        ("photos", "none", r"folder of label files .*none does not exist"),
        ("none", "maps", r"image folder .*none of the data set sea does not exist"),
        ("maps", "photos", r"No image in .*maps has a label file in .*photos.* swap the two folders"),
    ):
        register_semantic_folder("sea", folders[images], folders[labels], ["sky", "sea"])
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            get_segmentation_dataset_dicts("sea")
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        register_folder("sea", folders["none"])
    register_instances("sea", tmp_path / "none.json", folders["photos"])
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        get_detection_dataset_dicts("sea")


def test_a_class_cannot_be_ignored(tmp_path):
    with pytest.raises(ValueError, match=r"ignore_value=1 is the class 'sea' of sets"):
        register_semantic_folder("sets", tmp_path, tmp_path, ["sky", "sea"], 1)

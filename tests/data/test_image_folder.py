"""Folders by class: records, names, what is refused; nothing is read before it is used."""

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from focalnet_d2.data.catalog import get_classification_dataset_dicts
from focalnet_d2.data.datasets import register_image_folder
from focalnet_d2.data.datasets.imagenet import register_image_folders
from tests.data.image_folder import make_image_folder

NAME = "image_folder_test"


@pytest.fixture(autouse=True)
def clean_catalog():
    yield
    for name in (NAME, f"{NAME}_2"):
        for catalog in (DatasetCatalog, MetadataCatalog):
            if name in catalog.list():
                catalog.remove(name)


def test_classes_are_the_sorted_folders(tmp_path):
    make_image_folder(tmp_path, {"zebra": 2, "ant": 1, "Bee": 1})
    for suffix in ("jpg", "JPEG"):
        Image.new("RGB", (8, 8)).save(tmp_path / "ant" / f"more.{suffix}", format="JPEG")
    (tmp_path / "ant" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    register_image_folder(NAME, tmp_path)
    records = get_classification_dataset_dicts(NAME)
    assert [(record["image_id"], record["class_id"]) for record in records] == [
        ("Bee/0.png", 0), ("ant/0.png", 1), ("ant/more.JPEG", 1), ("ant/more.jpg", 1), ("zebra/0.png", 2),
        ("zebra/1.png", 2),
    ]  # fmt: skip
    assert records[0]["file_name"] == str(tmp_path / "Bee" / "0.png")
    assert MetadataCatalog.get(NAME).thing_classes == ["Bee", "ant", "zebra"]


def test_registering_reads_nothing_and_says_later_what_is_missing(tmp_path):
    register_image_folder(NAME, tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=rf"nowhere of the data set {NAME} does not exist: put it there"):
        get_classification_dataset_dicts(NAME)


def test_images_beside_each_other_are_no_classes(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    register_image_folder(NAME, tmp_path)
    with pytest.raises(ValueError, match=rf"data set {NAME} cannot be used: .*has no class folders: sort its images"):
        get_classification_dataset_dicts(NAME)


def test_a_class_without_images_is_named(tmp_path):
    make_image_folder(tmp_path, {"ant": 1, "bee": 0})
    register_image_folder(NAME, tmp_path)
    with pytest.raises(ValueError, match=r"class folder \S*bee has no images"):
        get_classification_dataset_dicts(NAME)


def test_validation_images_need_the_classes_of_the_training_images(tmp_path):
    train = make_image_folder(tmp_path / "train", {"ant": 1, "bee": 1})
    val = make_image_folder(tmp_path / "val", {"ant": 1, "cat": 1})
    register_image_folder(NAME, val, same_classes_as=train)
    with pytest.raises(ValueError, match=r"val has other class folders than \S*train: it lacks bee and adds cat"):
        get_classification_dataset_dicts(NAME)
    register_image_folder(NAME, val, same_classes_as=tmp_path / "not_here")
    assert len(get_classification_dataset_dicts(NAME)) == 2


def test_folders_with_other_classes_are_not_joined(tmp_path):
    register_image_folder(NAME, make_image_folder(tmp_path / "a", {"ant": 1}))
    register_image_folder(f"{NAME}_2", make_image_folder(tmp_path / "b", {"bee": 1}))
    with pytest.raises(ValueError, match="different class lists"):
        get_classification_dataset_dicts([NAME, f"{NAME}_2"])


def test_boxes_are_no_classes(tmp_path):
    DatasetCatalog.register(NAME, lambda: [{"file_name": str(tmp_path), "annotations": []}])
    with pytest.raises(ValueError, match=f"data set {NAME} has no classes; its images have image_id, file_name"):
        get_classification_dataset_dicts(NAME)


def test_imagenet_lies_below_the_root_of_all_data_sets(tmp_path, monkeypatch):
    make_image_folder(tmp_path / "imagenet" / "train", {"n01": 1, "n02": 2})
    make_image_folder(tmp_path / "imagenet" / "val", {"n01": 1, "n03": 1})
    with monkeypatch.context() as environment:
        environment.setenv("DETECTRON2_DATASETS", str(tmp_path))
        register_image_folders()
        assert [record["class_id"] for record in get_classification_dataset_dicts("imagenet_train")] == [0, 1, 1]
        with pytest.raises(ValueError, match="lacks n02 and adds n03"):
            get_classification_dataset_dicts("imagenet_val")
    register_image_folders()

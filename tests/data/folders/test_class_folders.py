"""Images in a folder for each class."""

import json

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from PIL import Image

from focalnet_d2.commands.main import main
from focalnet_d2.data.catalog import get_classification_dataset_dicts
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.datasets.folders import register_dataset
from focalnet_d2.data.fixing.copy import write_mended_copy
from focalnet_d2.data.folders.finding import choose_dataset, find_datasets
from focalnet_d2.data.folders.image_lists import write_lists
from tests.data.folders.folder_sets import save_images, write_coco


def found(root):
    return choose_dataset(find_datasets(root), ["classification"])


def write_classes(root, counts, folder="."):
    for name, count in counts.items():
        save_images(root / folder / name, [f"{number}.png" for number in range(count)])


def test_parts_with_class_folders(tmp_path):
    write_classes(tmp_path, {"cat": 3, "dog": 2}, "train")
    write_classes(tmp_path, {"dog": 1}, "val")
    register_dataset(found(tmp_path))
    assert [record["class_id"] for record in get_classification_dataset_dicts("data_train")] == [0, 0, 0, 1, 1]
    (record,) = get_classification_dataset_dicts("data_val")
    assert (record["image_id"], record["class_id"]) == ("dog/0.png", 1)
    assert MetadataCatalog.get("data_val").thing_classes == ["cat", "dog"]


def test_classes_alone_are_split_each(tmp_path):
    write_classes(tmp_path, {"cat": 10, "dog": 5, "rare": 1})
    dataset = write_lists(found(tmp_path), tmp_path / "run")
    register_dataset(dataset, ClassChanges(rename={"dog": "hound"}, drop=["rare"]))
    records = get_classification_dataset_dicts("data_val")
    assert sorted(record["class_id"] for record in records) == [0, 0, 1]
    assert len(get_classification_dataset_dicts("data_train")) == 12
    assert MetadataCatalog.get("data_train").thing_classes == ["cat", "hound"]


def test_a_class_that_training_lacks_is_named(tmp_path):
    write_classes(tmp_path, {"cat": 3, "dog": 2}, "train")
    write_classes(tmp_path, {"dog": 1, "cow": 1}, "val")
    register_dataset(found(tmp_path))
    with pytest.raises(ValueError, match=r"val has the class folders cow, which .*train lacks"):
        get_classification_dataset_dicts("data_val")


def test_all_that_is_wrong_with_class_folders_is_listed(tmp_path, capsys):
    write_classes(tmp_path / "set", {"cat": 3, "dog": 2}, "train")
    write_classes(tmp_path / "set", {"dog": 2, "cow": 1}, "val")
    (tmp_path / "set" / "val" / "dog" / "0.png").write_bytes(b"no image")
    main(["check-data", str(tmp_path / "set"), "--workers", "1", "--json", "--out", str(tmp_path / "page")])
    listed = {fault["kind"]: fault["ids"] for fault in json.loads(capsys.readouterr().out)["faults"]}
    assert listed["unusable-class-folder"] == ["cow"]
    assert listed["absent-class"] == ["cat"]
    assert listed["unreadable-image"] == ["dog/0.png"]
    changes = write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy").changes
    assert sorted(change.id for change in changes) == ["cow", "dog/0.png"]
    assert not (tmp_path / "copy" / "val" / "cow").exists()


def test_images_without_a_class_are_named(tmp_path):
    write_classes(tmp_path, {"cat": 3, "dog": 2}, "train")
    register_dataset(found(tmp_path))
    save_images(tmp_path / "train", ["loose.jpg"])
    with pytest.raises(ValueError, match=r"1 images in .*train are in no class folder: loose.jpg; move them"):
        get_classification_dataset_dicts("data_train")


def test_folders_of_images_are_no_classes(tmp_path):
    for part in ("train", "val"):
        write_coco(tmp_path, f"annotations/instances_{part}.json", {f"{part}.jpg": f"images/{part}/{part}.jpg"})
    assert [dataset.layout for dataset in find_datasets(tmp_path)] == ["coco"]


@pytest.mark.parametrize("above", ["", "dev_set/"])
def test_a_class_may_be_called_after_a_part(tmp_path, above):
    for part in ("train", "val"):
        write_classes(tmp_path, {"car": 1, "train": 2}, f"{above}{part}")
    dataset = found(tmp_path)
    register_dataset(dataset)
    assert dataset.classes.names == ["car", "train"]
    assert [record["class_id"] for record in get_classification_dataset_dicts("data_val")] == [0, 1, 1]


def test_images_in_folders_of_a_class_folder_belong_to_the_class(tmp_path):
    for part in ("train", "val"):
        write_classes(tmp_path, {"cat/old": 1, "cat/new": 1, "dog": 1, "cow/images": 1}, part)
    register_dataset(found(tmp_path))
    assert len(get_classification_dataset_dicts("data_train")) == 4
    assert MetadataCatalog.get("data_train").thing_classes == ["cat", "cow", "dog"]


def test_pairs_of_images_and_labels_in_folders_are_no_classes(tmp_path):
    for site in ("a", "b"):
        write_classes(tmp_path, {"images": 1, "masks": 1}, f"train/{site}")
    with pytest.raises(ValueError, match="holds no data set that is known"):
        find_datasets(tmp_path, layout="class-folders")


@pytest.mark.parametrize("names", [("mask", "no_mask"), ("label", "barcode"), ("masks", "goggles", "labels")])
@pytest.mark.parametrize("folder", ["train", "."])
def test_classes_may_be_called_as_folders_of_labels_are(tmp_path, names, folder):
    random = np.random.RandomState(0)
    for number, name in enumerate(names):
        (tmp_path / folder / name).mkdir(parents=True)
        for image in range(3):
            pixels = random.randint(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / name / f"{image}{'.jpg' if number else '.png'}")
    assert found(tmp_path).classes.names == sorted(names)


def test_label_files_beside_a_folder_of_any_name_are_no_class(tmp_path):
    write_classes(tmp_path, {"pictures": 3, "masks": 3})
    with pytest.raises(ValueError, match="holds no data set that is known"):
        find_datasets(tmp_path, layout="class-folders")


def test_a_folder_of_a_part_among_classes_is_named(tmp_path):
    write_classes(tmp_path, {"car": 1, "plane": 1, "train": 1})
    with pytest.raises(ValueError, match="has the folder train, which is called after a part, among class folders"):
        found(tmp_path)
    for name in ("car", "plane", "train"):  # as the message says
        (tmp_path / name).rename(tmp_path / f"{name}_")
    for name in ("car", "plane", "train"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / f"{name}_").rename(tmp_path / "train" / name)
    assert found(tmp_path).classes.names == ["car", "plane", "train"]


def test_images_beside_the_class_folders_of_a_part_are_named(tmp_path):
    for part in ("train", "val"):
        write_classes(tmp_path, {"cat": 2, "dog": 2}, part)
    save_images(tmp_path / "train", ["loose.jpg"])
    with pytest.raises(ValueError, match="train has 1 images beside its class folders cat, dog: move them"):
        find_datasets(tmp_path, layout="class-folders")

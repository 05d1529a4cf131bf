"""Registered names, and the Objects365 layout."""

import importlib
import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

import focalnet_d2.data.datasets
from focalnet_d2.data.catalog import get_detection_dataset_dicts
from focalnet_d2.data.datasets import datasets_root, register_coco_folder
from focalnet_d2.data.datasets.objects365 import BROKEN_IMAGES, load_objects365
from focalnet_d2.data.packed import loading
from focalnet_d2.data.packed.records import PackedRecords

NAMES = [
    "coco_2017_train",
    "coco_2017_val",
    "coco_2017_test-dev",
    *(f"{name}_{split}" for name in ("objects365_v2", "balloon", "nuclei", "generated") for split in ("train", "val")),
]


def test_names_are_registered_and_importing_again_is_safe():
    for _ in range(2):
        importlib.reload(focalnet_d2.data.datasets)
        for name in NAMES:
            assert name in DatasetCatalog.list()
            assert MetadataCatalog.get(name).evaluator_type == "coco"


def test_coco_test_dev_has_the_classes_of_coco():
    classes = MetadataCatalog.get("coco_2017_test-dev").thing_classes
    assert classes == MetadataCatalog.get("coco_2017_train").thing_classes
    assert len(classes) == 80


def test_root_is_the_variable_or_datasets(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "/data/sets")
    assert str(datasets_root()) == "/data/sets"
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert str(datasets_root()) == "datasets"


def test_folder_gives_the_split_of_the_name(tmp_path):
    register_coco_folder("birds_val", tmp_path)
    metadata = MetadataCatalog.get("birds_val")
    assert metadata.json_file == str(tmp_path / "annotations" / "instances_val.json")
    assert metadata.image_root == str(tmp_path / "val")


def test_json_needs_an_image_folder(tmp_path):
    with pytest.raises(ValueError, match="'birds' needs image_root"):
        register_coco_folder("birds", tmp_path / "all.json")
    register_coco_folder("birds", tmp_path / "all.json", tmp_path / "photos")
    assert MetadataCatalog.get("birds").image_root == str(tmp_path / "photos")


def write_coco(root, file_names, categories):
    (root / "annotations").mkdir(parents=True)
    images = [{"id": i, "file_name": name, "height": 8, "width": 8} for i, name in enumerate(file_names)]
    annotation = {"image_id": 0, "iscrowd": 0, "bbox": [1, 1, 4, 4], "area": 16}
    annotations = [{**annotation, "id": c["id"], "category_id": c["id"]} for c in categories]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / "zhiyuan_objv2_val.json").write_text(json.dumps(content))


def test_objects365_names_patches_and_broken_images(tmp_path, monkeypatch):
    broken = sorted(BROKEN_IMAGES)[0]
    categories = [{"id": i + 1, "name": f"class {i}"} for i in range(365)]
    write_coco(tmp_path / "objects365", ["images/v2/patch3/a.jpg", f"images/v2/{broken}"], categories)
    (tmp_path / "objects365" / "val" / "patch3").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "objects365" / "val" / "patch3" / "a.jpg")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    importlib.reload(focalnet_d2.data.datasets)
    records = get_detection_dataset_dicts("objects365_v2_val")
    assert [record["file_name"] for record in records] == [str(tmp_path / "objects365/val/patch3/a.jpg")]
    assert sorted(a["category_id"] for a in records[0]["annotations"]) == list(range(365))
    assert len(MetadataCatalog.get("objects365_v2_val").thing_classes) == 365
    monkeypatch.undo()
    importlib.reload(focalnet_d2.data.datasets)


@pytest.mark.parametrize("name", ["images/v2/patch3/a.jpg", "patch3/a.jpg", "a.jpg"])
def test_objects365_of_a_big_file_stays_packed(tmp_path, monkeypatch, name):
    categories = [{"id": i + 1, "name": f"class {i}"} for i in range(365)]
    write_coco(tmp_path, [name, f"images/v1/{sorted(BROKEN_IMAGES)[1]}"], categories)
    file = str(tmp_path / "annotations" / "zhiyuan_objv2_val.json")
    as_list = load_objects365(file, "root", "objects365_v2_val")
    monkeypatch.setattr(loading, "BIG", 0)
    monkeypatch.setenv("FOCALNET_D2_RECORDS_CACHE", "0")
    packed = load_objects365(file, "root", "objects365_v2_val")
    assert isinstance(packed, PackedRecords)
    assert list(packed) == as_list
    assert [record["file_name"] for record in as_list] == [f"root/{name.removeprefix('images/v2/')}"]


def test_objects365_of_another_version_is_refused(tmp_path):
    write_coco(tmp_path, ["patch3/a.jpg"], [{"id": 366, "name": "odd"}])
    name = "objects365_v2_val"
    with pytest.raises(ValueError, match="category ids 366 outside the registered list of 365 classes"):
        load_objects365(str(tmp_path / "annotations" / "zhiyuan_objv2_val.json"), str(tmp_path), name)

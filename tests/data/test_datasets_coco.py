"""Registered names of COCO's panoptic labels."""

import importlib

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

import focalnet_d2.data.datasets
from focalnet_d2.data.preparation import prepare_coco_semantic
from tests.data.coco_folder import write_coco

NAMES = [f"coco_2017_{split}_panoptic{ending}" for split in ("train", "val") for ending in ("", "_with_sem_seg")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The hand-made COCO where the registered names look for it."""
    categories = [{key: category[key] for key in ("id", "name", "isthing")} for category in COCO_CATEGORIES]
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    importlib.reload(focalnet_d2.data.datasets)
    yield write_coco(tmp_path, categories=categories)
    monkeypatch.undo()
    importlib.reload(focalnet_d2.data.datasets)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_are_complete_without_reading_a_file(name):
    metadata = MetadataCatalog.get(name)
    names = [category["name"] for category in COCO_CATEGORIES]
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert (metadata.label_divisor, metadata.ignore_label) == (1000, 255)
    assert metadata.thing_classes == metadata.stuff_classes == names
    assert metadata.thing_colors == metadata.stuff_colors == [category["color"] for category in COCO_CATEGORIES]
    assert list(metadata.thing_dataset_id_to_contiguous_id.values()) == list(range(80))
    assert list(metadata.stuff_dataset_id_to_contiguous_id.values()) == list(range(133))
    assert metadata.thing_dataset_id_to_contiguous_id[90] == 79
    assert metadata.stuff_dataset_id_to_contiguous_id[200] == 132


def test_files_lie_below_the_data_folder(folder):
    metadata = MetadataCatalog.get("coco_2017_train_panoptic_with_sem_seg")
    assert {key: getattr(metadata, key).removeprefix(f"{folder}/") for key in metadata.as_dict() if "_root" in key} == {
        "image_root": "train2017",
        "panoptic_root": "panoptic_train2017",
        "sem_seg_root": "panoptic_semseg_train2017",
    }
    assert metadata.panoptic_json == f"{folder}/annotations/panoptic_train2017.json"
    assert metadata.json_file == f"{folder}/annotations/instances_train2017.json"


def test_dataset_dicts_have_contiguous_classes_and_semantic_files_once_they_are_made(folder):
    (record,) = DatasetCatalog.get("coco_2017_val_panoptic_with_sem_seg")
    segments = record.pop("segments_info")
    assert record == {
        "file_name": f"{folder}/val2017/000000000008.jpg",
        "image_id": 8,
        "height": 2,
        "width": 4,
        "pan_seg_file_name": f"{folder}/panoptic_val2017/000000000008.png",
    }
    found = [(s["id"], s["category_id"], bool(s["isthing"]), s["iscrowd"], s["area"]) for s in segments]
    assert found == [(7, 0, True, 1, 3), (900, 79, True, 0, 2), (70_000, 132, False, 0, 2)]
    prepare_coco_semantic(folder.parent, splits=["val"])
    (record,) = DatasetCatalog.get("coco_2017_val_panoptic")
    assert record["sem_seg_file_name"] == f"{folder}/panoptic_semseg_val2017/000000000008.png"

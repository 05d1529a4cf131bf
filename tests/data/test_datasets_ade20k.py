"""Registered names of ADE20K, on two images written by hand and prepared."""

import importlib
import json

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog

import focalnet_d2.data.datasets
from focalnet_d2.data.datasets import ADE20K_CLASSES, ADE20K_THING_IDS
from focalnet_d2.data.preparation import prepare_ade20k
from tests.data.ade20k_folder import BED, CABINET, INSTANCES, write_ade20k


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The prepared folder where the registered names look for it."""
    made = write_ade20k(tmp_path)
    prepare_ade20k(tmp_path, splits=["train"])
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    importlib.reload(focalnet_d2.data.datasets)
    yield made
    monkeypatch.undo()
    importlib.reload(focalnet_d2.data.datasets)


def test_classes_and_things():
    assert len(ADE20K_CLASSES) == len(set(ADE20K_CLASSES)) == 150
    assert len(ADE20K_THING_IDS) == len(set(ADE20K_THING_IDS)) == 100
    assert list(ADE20K_THING_IDS) == sorted(ADE20K_THING_IDS)
    things = {ADE20K_CLASSES[i] for i in ADE20K_THING_IDS}
    assert {"bed", "person", "car", "tree", "flag"} & things == {"bed", "person", "car", "flag"}


@pytest.mark.parametrize("split", ["train", "val"])
def test_metadata_are_complete_without_reading_a_file(split):
    semantic, panoptic, instance = (
        MetadataCatalog.get(f"ade20k_{task}_{split}") for task in ("sem_seg", "panoptic", "instance")
    )
    assert (semantic.evaluator_type, semantic.ignore_label) == ("sem_seg", 255)
    assert semantic.stuff_classes == panoptic.stuff_classes == panoptic.thing_classes == list(ADE20K_CLASSES)
    assert (panoptic.evaluator_type, panoptic.label_divisor, panoptic.ignore_label) == (
        "ade20k_panoptic_seg",
        1000,
        255,
    )
    assert panoptic.thing_dataset_id_to_contiguous_id == {i: i for i in ADE20K_THING_IDS}
    assert panoptic.stuff_dataset_id_to_contiguous_id == {i: i for i in range(150)}
    assert panoptic.json_file == instance.json_file
    assert instance.evaluator_type == "coco"
    assert instance.thing_classes == [ADE20K_CLASSES[i] for i in ADE20K_THING_IDS]
    assert instance.thing_dataset_id_to_contiguous_id == {i: k for k, i in enumerate(ADE20K_THING_IDS)}


def test_semantic_set(folder):
    records = DatasetCatalog.get("ade20k_sem_seg_train")
    assert [record["image_id"] for record in records] == ["a", "b"]
    assert records[0]["file_name"] == f"{folder}/images/training/a.jpg"
    assert records[0]["sem_seg_file_name"] == f"{folder}/annotations_detectron2/training/a.png"


def test_semantic_set_says_which_partner_is_missing(folder):
    (folder / "annotations_detectron2" / "training" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the images in .* no partner, b for one: run tools/prepare"):
        DatasetCatalog.get("ade20k_sem_seg_train")
    with pytest.raises(FileNotFoundError, match="no images .* no labels"):
        DatasetCatalog.get("ade20k_sem_seg_val")


def test_panoptic_set(folder):
    first, second = DatasetCatalog.get("ade20k_panoptic_train")
    assert first["image_id"] == "a"
    assert first["pan_seg_file_name"] == f"{folder}/ade20k_panoptic_train/a.png"
    assert first["sem_seg_file_name"] == f"{folder}/annotations_detectron2/training/a.png"
    classes = [(segment["category_id"], bool(segment["isthing"])) for segment in first["segments_info"]]
    assert classes == [(0, False), (BED, True), (CABINET, True)]
    assert (second["height"], second["width"]) == (4, 3)


def test_instance_set_has_contiguous_classes_and_exact_masks(folder):
    first, second = DatasetCatalog.get("ade20k_instance_train")
    assert [annotation["category_id"] for annotation in first["annotations"]] == [0, 2]  # bed and cabinet
    assert second["annotations"] == []
    mapper = DatasetMapper(
        True, augmentations=[], image_format="RGB", use_instance_mask=True, instance_mask_format="bitmask"
    )
    masks = mapper(first)["instances"].gt_masks.tensor.numpy()
    np.testing.assert_array_equal(masks, np.stack([INSTANCES == 1, INSTANCES == 5]))


def test_instance_set_takes_other_names_of_the_classes_but_no_other_classes(folder):
    path = folder / "ade20k_instance_train.json"
    content = json.loads(path.read_text())
    content["categories"][1]["name"] = "windowpane"
    path.write_text(json.dumps(content))
    assert len(DatasetCatalog.get("ade20k_instance_train")) == 2
    content["annotations"][0]["category_id"] = 0
    content["categories"].append({"id": 0, "name": "wall"})
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"ade20k_instance_train\.json has the category id 0, which is no thing"):
        DatasetCatalog.get("ade20k_instance_train")

"""Data sets that were found are registered, loaded and scored, with classes renamed, merged and dropped."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances

from focalnet_d2.data.catalog import get_detection_dataset_dicts, get_segmentation_dataset_dicts, load_dataset
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.datasets.folders import register_dataset
from focalnet_d2.data.folders.dataset import FolderDataset, Split
from focalnet_d2.data.folders.finding import choose_dataset, find_datasets, served_as
from focalnet_d2.data.folders.image_lists import read_part, write_lists
from focalnet_d2.data.folders.layouts import LAYOUTS
from focalnet_d2.data.mappers import InstanceMapper, PanopticMapper, SemanticMaskMapper
from focalnet_d2.data.packed.records import PackedRecords
from focalnet_d2.data.panoptic_labels import read_listed_ids
from focalnet_d2.evaluation.detection import DetectionEvaluator
from focalnet_d2.evaluation.panoptic import PanopticEvaluator
from focalnet_d2.evaluation.semantic import SemanticEvaluator
from tests.data.folders.folder_sets import (
    PANOPTIC_IDS,
    coco_content,
    save_images,
    write_coco,
    write_json,
    write_panoptic,
)
from tests.data.folders.labelled_folders import labelme_json, read, write
from tests.own_data_folders import write_labelled

NAMES = [f"{letter}.jpg" for letter in "abcdefghij"]
MERGED = ClassChanges(merge={"pet": ["cat", "dog"]})


@pytest.fixture
def boxes(tmp_path):
    write_coco(tmp_path, "annotations.json", {name: f"images/{name}" for name in NAMES})
    return choose_dataset(find_datasets(tmp_path), ["instances"])


@pytest.fixture
def panoptic(tmp_path):
    for part in ("train", "val"):
        write_panoptic(tmp_path, part)
    return choose_dataset(find_datasets(tmp_path), ["panoptic"])


def classes_of(records):
    return {one["category_id"] for record in records for one in record["annotations"]}


def test_the_split_is_the_same_with_and_without_lists(boxes, tmp_path):
    listed = write_lists(boxes, tmp_path / "run")
    assert (tmp_path / "run/val_images.txt").read_text().count("\n") == 2
    for part, count in (("train", 8), ("val", 2)):
        files = {image["file_name"] for image in read_part(boxes, part).images}
        assert files == {image["file_name"] for image in read_part(listed, part).images}
        assert len(files) == count
    assert write_lists(listed, tmp_path / "other") == listed
    assert not (tmp_path / "other").exists()


def test_a_listed_image_that_is_not_there_is_named(boxes, tmp_path):
    listed = write_lists(boxes, tmp_path / "run")
    (tmp_path / "run/val_images.txt").write_text("a.jpg\nzebra.jpg\n")
    with pytest.raises(ValueError, match=r"val_images.txt names 1 images that .*annotations.json lacks, zebra.jpg"):
        read_part(listed, "val")
    (tmp_path / "run/val_images.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_images.txt does not exist: start again with data=DIR"):
        read_part(listed, "val")
    (tmp_path / "run/train_images.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"train_images.txt is empty"):
        read_part(listed, "train")


def test_what_a_recipe_keeps_is_enough(boxes, tmp_path):
    """Another process has nothing but plain values."""
    kept = FolderDataset.from_plain(write_lists(boxes, tmp_path / "run").to_plain())
    names = register_dataset(kept)
    assert names == {"train": "data_train", "val": "data_val"}
    records = get_segmentation_dataset_dicts("data_train")
    assert len(records) == 8
    assert classes_of(records) == {0, 1}
    metadata = MetadataCatalog.get("data_train")
    assert metadata.classes == boxes.classes
    assert metadata.thing_classes == ["cat", "dog"]
    assert metadata.thing_dataset_id_to_contiguous_id == {1: 0, 3: 1}
    source = pickle.loads(pickle.dumps(metadata.instances_source))
    assert len(source().annotations) == 16


def perfect_predictions(records):
    for record in records:
        instances = Instances((record["height"], record["width"]))
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in record["annotations"])]
        instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        instances.pred_classes = torch.tensor([one["category_id"] for one in record["annotations"]])
        instances.scores = torch.ones(len(boxes))
        yield record, {"instances": instances}


@pytest.mark.parametrize(
    ("changes", "names", "ids", "count"),
    [
        (ClassChanges(), ["cat", "dog"], [1, 3], 4),
        (ClassChanges(rename={"dog": "hound"}), ["cat", "hound"], [1, 3], 4),
        (ClassChanges(drop=["cat"]), ["dog"], [3], 2),
        (MERGED, ["pet"], [1], 4),
    ],
)
def test_changes_hold_for_training_and_scoring(boxes, changes, names, ids, count):
    register_dataset(boxes, changes)
    records = get_detection_dataset_dicts("data_val")
    assert sum(len(record["annotations"]) for record in records) == count
    assert classes_of(records) == set(range(len(names)))
    evaluator = DetectionEvaluator("data_val")
    for record, output in perfect_predictions(records):
        evaluator.process([record], [output])
    results = evaluator.evaluate()["bbox"]
    assert results["AP"] == pytest.approx(100)
    assert [name for name in results if name.startswith("AP-")] == [f"AP-{name}" for name in names]
    assert list(MetadataCatalog.get("data_val").thing_dataset_id_to_contiguous_id) == ids


@pytest.mark.parametrize("layout", ["yolo", "voc", "cvat", "labelme"])
def test_prediction_files_of_layouts_without_ids_name_the_pictures(tmp_path, layout):
    write_labelled(tmp_path, layout)
    register_dataset(choose_dataset(find_datasets(tmp_path), ["instances"]))
    evaluator = DetectionEvaluator("data_val", output_dir=tmp_path / "out")
    for record, output in perfect_predictions(load_dataset("data_val")):
        evaluator.process([record], [output])
    assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(100)
    rows = json.loads((tmp_path / "out" / "coco_instances_results.json").read_text())
    folder = Path(MetadataCatalog.get("data_val").image_root)
    files = [folder / image_id for image_id in dict.fromkeys(row["image_id"] for row in rows)]
    assert files == [tmp_path / "val" / "images" / f"val_{number}.png" for number in range(4)]


def test_each_file_of_labels_of_one_picture_has_its_own_id(tmp_path):
    shapes = labelme_json(("cat", "rectangle", [[1, 1], [9, 9]]), image="a.png")
    write(tmp_path, {"a.png": None, "one.json": shapes, "other.json": shapes})
    assert [image["id"] for image in read(LAYOUTS["labelme"], tmp_path).images] == ["a.png", "a.png#2"]


def test_dropping_all_that_a_part_has_is_refused(tmp_path):
    write_coco(tmp_path, "train.json", NAMES)
    content = coco_content(NAMES)
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] == 3]
    write_json(tmp_path / "train.json", content)
    register_dataset(choose_dataset(find_datasets(tmp_path), ["instances"]), ClassChanges(drop=["dog"]))
    with pytest.raises(ValueError, match=r"No training image of .*train.json has any of the classes cat"):
        load_dataset("data_train")


def test_a_file_that_has_got_another_class_is_refused(boxes, tmp_path):
    register_dataset(boxes)
    content = coco_content(NAMES, [{"id": 1, "name": "cat"}, {"id": 8, "name": "cow"}])
    write_json(tmp_path / "annotations.json", content)
    with pytest.raises(ValueError, match=r"classes 8 \(cow\), which are not those of this run.*start again"):
        load_dataset("data_train")


def test_missing_images_are_named_before_training(boxes, tmp_path):
    register_dataset(boxes)
    (tmp_path / "images/c.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"c.jpg of the data set data_\w+ does not exist \(1 of"):
        load_dataset("data_train") + load_dataset("data_val")


def test_roboflows_first_category_is_no_class(tmp_path):
    """It heads the list, may have the name of a class, and has no object."""
    roots = [{"id": 0, "name": "cat", "supercategory": "none"}]
    content = coco_content(NAMES, [*roots, {"id": 1, "name": "cat", "supercategory": "cat"}])
    content["annotations"] = [one for one in content["annotations"] if one["category_id"] == 1]
    save_images(tmp_path / "train", NAMES)
    write_json(tmp_path / "train/_annotations.coco.json", content)
    register_dataset(choose_dataset(find_datasets(tmp_path), ["instances"]))
    assert MetadataCatalog.get("data_train").thing_dataset_id_to_contiguous_id == {1: 0}
    assert classes_of(load_dataset("data_train")) == {0}
    assert DetectionEvaluator("data_val").metric_names()[-1] == "bbox/AP-cat"


def test_a_big_file_is_found_and_loaded_a_chunk_at_a_time(tmp_path, monkeypatch):
    for part in ("train", "val"):
        write_coco(tmp_path, f"{part}.json", {name: f"{part}/{name}" for name in NAMES})
    found = find_datasets(tmp_path)
    register_dataset(choose_dataset(found, ["instances"]))
    plain = load_dataset("data_train")
    monkeypatch.setattr("focalnet_d2.data.packed.loading.BIG", 0)
    monkeypatch.setattr("focalnet_d2.data.folders.coco_summaries.BIG", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert list(find_datasets(tmp_path)) == list(found)
    packed = load_dataset("data_train")
    assert isinstance(packed, PackedRecords)
    assert list(packed) == plain
    assert isinstance(register_and_load(found[0], ClassChanges(drop=["dog"])), PackedRecords)
    assert isinstance(register_and_load(replace(found[0], split=Split())), PackedRecords)
    content = coco_content(NAMES)
    for image in content["images"]:
        image["file_name"] = "./" + image["file_name"]
    write_json(tmp_path / "train.json", content)
    assert list(register_and_load(found[0])) == plain


def register_and_load(dataset, changes=ClassChanges()):  # noqa: B008
    register_dataset(dataset, changes)
    return load_dataset("data_train")


def test_a_panoptic_set_is_everything_else(panoptic):
    """JSON and PNGs alone, with areas and boxes that are wrong, give objects, semantic labels and their truths."""
    register_dataset(panoptic)
    assert "area" not in load_dataset("data_train")[0]["segments_info"][0]
    objects = served_as(panoptic, "instances")
    assert objects.classes.names == ["cat", "dog"]
    register_dataset(objects)
    (record, _) = get_segmentation_dataset_dicts("data_train")
    assert [(one["category_id"], one["bbox"]) for one in record["annotations"]] == [
        (0, [0, 0, 2, 2]),
        (1, [2, 0, 2, 2]),
    ]
    assert [one["area"] for one in MetadataCatalog.get("data_val").instances_source().annotations] == [4, 4, 4, 4]
    targets = InstanceMapper(True, augmentations=[])(record)["instances"]
    assert targets.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [4, 4]
    register_dataset(served_as(panoptic, "semantic"))
    (record, _) = get_segmentation_dataset_dicts("data_train")
    labels = SemanticMaskMapper(True, augmentations=[], num_classes=4).read_labels(record, PANOPTIC_IDS.shape)
    assert labels.tolist() == np.array([255, 0, 1, 2, 3])[PANOPTIC_IDS].tolist()
    assert MetadataCatalog.get("data_train").stuff_dataset_id_to_contiguous_id == {1: 0, 9: 1, 4: 2, 20: 3}


def test_panoptic_classes_are_merged_and_dropped(panoptic):
    changes = ClassChanges(merge={"ground": ["grass", "road"]}, drop=["cat"])
    register_dataset(panoptic, changes)
    records = get_segmentation_dataset_dicts("data_val")
    record = records[0]
    assert MetadataCatalog.get("data_val").classes.names == ["dog", "ground"]
    assert record["renumbered_segments"] == {1: 0, 4: 3}
    ids = read_listed_ids(record["pan_seg_file_name"], record["segments_info"], record["renumbered_segments"])
    assert ids.tolist() == np.array([0, 0, 2, 3, 3])[PANOPTIC_IDS].tolist()
    sample = PanopticMapper(True, augmentations=[])(record)
    assert sample["instances"].gt_classes.tolist() == [0, 1]
    assert sample["instances"].gt_masks.tensor.sum(dim=(1, 2)).tolist() == [4, 11]
    assert "renumbered_segments" not in sample
    sample = PanopticMapper(False, augmentations=[])(record)
    evaluator = PanopticEvaluator("data_val")
    evaluator.process([sample], [{"panoptic_seg": (torch.tensor(ids), record["segments_info"])}])
    assert evaluator.evaluate()["panoptic_seg"]["PQ"] == pytest.approx(100)
    evaluator = SemanticEvaluator("data_val")
    classes = np.array([0, 0, 0, 1, 1])[PANOPTIC_IDS]
    evaluator.process([sample], [{"sem_seg": torch.tensor(classes)}])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == pytest.approx(100)
    evaluator = DetectionEvaluator("data_val", tasks=("segm",))
    assert evaluator.metric_names()[-1] == "segm/AP-dog"


def test_the_kind_that_a_recipe_needs_is_chosen(panoptic, tmp_path):
    with pytest.raises(ValueError, match=r"The recipe needs classification, but .* holds panoptic \(COCO's panoptic"):
        choose_dataset(find_datasets(tmp_path), ["classification"])
    assert choose_dataset(find_datasets(tmp_path), ["instances"]).layout == "coco-panoptic"
    write_coco(tmp_path, "annotations/instances_train.json", {"train_0.jpg": "train/train_0.jpg"})
    assert choose_dataset(find_datasets(tmp_path), ["instances", "panoptic"]).layout == "coco"
    assert choose_dataset(find_datasets(tmp_path), ["semantic"]).kind == "semantic"
    with pytest.raises(ValueError, match="holds panoptic, of which no classification can be made"):
        served_as(panoptic, "classification")


ODD_NAMES = [" blank.jpg", "blank .jpg", "a\u2028b.jpg", "a\x85b.jpg", "a\x0cb.jpg", "ä ß.JPG", "数.png", "50%#1.jpg"]


def test_names_of_images_may_have_anything_but_a_line_break(tmp_path):
    write_coco(tmp_path / "data", "annotations.json", ODD_NAMES)
    dataset = choose_dataset(find_datasets(tmp_path / "data", split=Split(0.5)), ["instances"])
    listed = write_lists(dataset, tmp_path / "run")
    names = {
        part: {os.path.basename(one["file_name"]) for one in read_part(listed, part).images}
        for part in ("train", "val")
    }
    assert names["train"] | names["val"] == set(ODD_NAMES)
    assert not names["train"] & names["val"]


def test_a_list_that_was_edited_by_hand_may_have_blanks_and_other_line_ends(boxes, tmp_path):
    listed = write_lists(boxes, tmp_path / "run")
    file = tmp_path / "run" / "val_images.txt"
    names = file.read_text().split()
    file.write_bytes("".join(f" {name} \r\n" for name in names).encode())
    assert len(read_part(listed, "val").images) == len(names)


def test_images_outside_of_the_folder_are_split_without_lists_as_with_them(tmp_path):
    save_images(tmp_path / "elsewhere" / "images", [f"{number}.jpg" for number in range(6)])
    for number in range(6):
        label = tmp_path / "elsewhere" / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.2 0.2")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.yaml").write_text("path: ../elsewhere\ntrain: images\nnames: [cat]\n")
    dataset = choose_dataset(find_datasets(tmp_path / "data"), ["instances"])
    listed = write_lists(dataset, tmp_path / "run")
    for part, count in (("train", 5), ("val", 1)):
        files = [image["file_name"] for image in read_part(dataset, part).images]
        assert files == [image["file_name"] for image in read_part(listed, part).images]
        assert len(files) == count

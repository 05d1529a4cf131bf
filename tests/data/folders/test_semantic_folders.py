"""Semantic folders: which label belongs to which image, and what its values mean."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog

from focalnet_d2.data.catalog import get_segmentation_dataset_dicts
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.datasets.folders import register_dataset
from focalnet_d2.data.folders.finding import choose_dataset, find_datasets
from focalnet_d2.data.folders.image_lists import read_part
from focalnet_d2.data.mappers import SemanticMaskMapper, SemanticSegMapper
from focalnet_d2.data.semantic_labels import read_record_labels
from focalnet_d2.evaluation.semantic import SemanticEvaluator
from tests.data.folders.folder_sets import save_images, save_label

NAMES = ("a", "b", "c")
CAMVID = {"": "train", "train": "train", "val": "val", "Training": "train", "validation": "val"}


def write_pairs(root, image="images/{}.jpg", label="masks/{}.png", values=(0, 1, 2), names=NAMES, mode=None):
    save_images(root, [image.format(name) for name in names])
    for name in names:
        save_label(root / label.format(name), values, mode=mode)


def found(root, **settings):
    return choose_dataset(find_datasets(root, **settings), ["semantic"])


def labels_of(dataset, part="train", changes=None):
    """Labels of all images of a part that are loaded as a run does it."""
    register_dataset(dataset, changes or ClassChanges())
    records = get_segmentation_dataset_dicts(f"data_{part}")
    return np.unique(np.concatenate([read_record_labels(record).ravel() for record in records])).tolist()


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{}.jpg", "labels/{}.png"),
        ("images/{}.jpg", "annotations/{}_mask.png"),
        ("img/day/{}.jpg", "SegmentationClass/day/{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("{}.jpg", "masks/{}.png"),
        ("leftImg8bit/ulm/{}_leftImg8bit.png", "gtFine/ulm/{}_gtFine_labelIds.png"),
        ("images/{}_sat.jpg", "labels/{}_mask.png"),
        ("images/{}_L.png", "masks/{}_L.tif"),
        ("{}.jpg", "PARTannot/{}.png"),
    ],
)
@pytest.mark.parametrize("parts", [("",), ("train", "val"), ("Training", "validation")])
@pytest.mark.parametrize("above", [True, False])
def test_every_placement_is_found(tmp_path, image, label, parts, above):
    for part in parts:
        places = []
        for place in (image, label):
            folder, _, name = place.rpartition("/")
            if "PART" in folder:  # CamVid has train/ and trainannot/ side by side
                places.append(f"{folder.replace('PART', CAMVID[part])}/{name}")
                continue
            places.append("/".join(filter(None, (part, folder, name) if above else (folder, part, name))))
        write_pairs(tmp_path, *places, names=[f"{part}{name}" for name in NAMES])
    dataset = found(tmp_path)
    assert set(dataset.parts) == {"train", "val"}
    assert (dataset.split is None) == (len(parts) == 2)
    assert dataset.classes.names == ["class 0", "class 1", "class 2"]
    pairs = [*read_part(dataset, "train"), *read_part(dataset, "val")]
    assert len(pairs) == len(parts) * 3
    for pair in pairs:
        assert os.path.isfile(pair.file_name)
        assert os.path.basename(pair.truth)[: len(NAMES[0])] in os.path.basename(pair.file_name)
    assert labels_of(dataset) == [0, 1, 2]


def test_labels_of_all_images_in_one_folder_say_the_parts(tmp_path):
    for part in ("train", "val"):
        write_pairs(tmp_path, "images/{}.jpg", f"labels/{part}/{{}}.png", names=[f"{part}_{name}" for name in NAMES])
    dataset = found(tmp_path)
    assert [os.path.basename(pair.file_name) for pair in read_part(dataset, "val")] == [f"val_{n}.jpg" for n in NAMES]


def test_images_of_one_name_are_told_by_their_folders(tmp_path):
    for place in ("day", "night"):
        write_pairs(tmp_path, f"images/{place}/{{}}.jpg", f"labels/{place}/{{}}.png")
    dataset = found(tmp_path)
    pairs = [*read_part(dataset, "train"), *read_part(dataset, "val")]
    places = {(pair.file_name.split("/")[-2], pair.truth.split("/")[-2]) for pair in pairs}
    assert (len(pairs), places) == (6, {("day", "day"), ("night", "night")})


def test_cityscapes_other_files_are_no_labels(tmp_path):
    write_pairs(tmp_path, "leftImg8bit/train/ulm/{}_leftImg8bit.png", "gtFine/train/ulm/{}_gtFine_labelIds.png")
    for name in NAMES:
        for other in ("color", "instanceIds"):
            save_label(tmp_path / f"gtFine/train/ulm/{name}_gtFine_{other}.png", [[9, 8, 7]])
    assert found(tmp_path).classes.names == ["class 0", "class 1", "class 2"]


def test_pictures_of_labels_are_no_labels(tmp_path):
    write_pairs(tmp_path, "color/{}.png")
    for name in NAMES:
        save_label(tmp_path / f"masks_color/{name}.png", [[9, 8, 7]])
        save_label(tmp_path / f"annotations_instance/{name}.png", [[9, 8, 7]])
    assert found(tmp_path).parts["train"].annotations == str(tmp_path / "masks")


def test_pascals_lists_say_the_parts(tmp_path):
    names = [f"2007_{number:06d}" for number in range(6)]
    write_pairs(tmp_path, "JPEGImages/{}.jpg", "SegmentationClass/{}.png", names=names, mode="P")
    save_images(tmp_path, ["JPEGImages/2008_000001.jpg"])
    save_label(tmp_path / "SegmentationObject/2007_000000.png", [1])
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for part, chosen in {"train": names[:4], "val": names[4:], "trainval": names}.items():
        (lists / f"{part}.txt").write_text("".join(f"{name}\n" for name in chosen))
    dataset = found(tmp_path)
    assert {part: len(read_part(dataset, part)) for part in dataset.parts} == {"train": 4, "val": 2}
    assert dataset.split is None


@pytest.mark.parametrize(
    ("values", "mode", "ids", "names", "labels"),
    [
        ((0, 255), None, [0, 255], ["background", "foreground"], [0, 1]),
        ((0, 1), "1", [0, 1], ["class 0", "class 1"], [0, 1]),
        ((3, 7, 255), None, [3, 7], ["class 3", "class 7"], [0, 1, 255]),
        (([5, 5, 5], [6, 6, 6]), None, [5, 6], ["class 5", "class 6"], [0, 1]),
    ],
)
def test_values_are_the_classes_without_a_list(tmp_path, values, mode, ids, names, labels):
    write_pairs(tmp_path, values=values, mode=mode)
    dataset = found(tmp_path)
    assert list(dataset.classes.contiguous) == ids
    assert dataset.classes.names == names
    assert "the values" in dataset.reason
    assert labels_of(dataset) == labels


@pytest.mark.parametrize(
    ("file", "text", "values", "classes", "labels"),
    [
        ("classes.txt", "sky\nsea\nland\n", (0, 1, 2, 255), {0: "sky", 1: "sea", 2: "land"}, [0, 1, 2, 255]),
        ("classes.txt", "1 sky\n2 sea\n", (0, 1, 2), {1: "sky", 2: "sea"}, [0, 1, 255]),
        ("classes.txt", "__ignore__\n_background_\ncat\n", (0, 1, 255), {0: "_background_", 1: "cat"}, [0, 1, 255]),
        ("classes.txt", "unlabeled\nsky\nsea", (0, 1, 2), {1: "sky", 2: "sea"}, [0, 1, 255]),
        ("classes.txt", "crack\n", (0, 255), {0: "background", 255: "crack"}, [0, 1]),
        ("classes.txt", "no\nyes\n", (0, 255), {0: "no", 255: "yes"}, [0, 1]),
        ("_classes.csv", "Pixel Value, Class\n0, background\n4, cat\n", (0, 4), {0: "background", 4: "cat"}, [0, 1]),
        ("classes.json", json.dumps({"2": "sky", "9": "sea"}), (2, 9), {2: "sky", 9: "sea"}, [0, 1]),
        (
            "classes.json",
            json.dumps([{"id": 5, "name": "sky"}, {"id": 0, "name": "void"}]),
            (0, 5),
            {5: "sky"},
            [0, 255],
        ),
        ("classes.json", json.dumps(["sky", "sea"]), (0, 1), {0: "sky", 1: "sea"}, [0, 1]),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:128,0,0::\n",
            ([0, 0, 0], [128, 0, 0]),
            {0: "background", 1: "cat"},
            [0, 1],
        ),
        ("labelmap.txt", "background:0,0,0::\ncat:128,0,0::\n", (0, 1), {0: "background", 1: "cat"}, [0, 1]),
        ("labelmap.txt", "background:::\ncat:::\n", (0, 1), {0: "background", 1: "cat"}, [0, 1]),
        ("labelmap.txt", "sky:::\nsea:::\ncat:::", ([0, 128, 0], [128, 0, 0]), {0: "sky", 1: "sea", 2: "cat"}, [1, 2]),
        ("label_colors.txt", "0 0 0 Void\n9 8 7\tCar", ([0, 0, 0], [9, 8, 7]), {1: "Car"}, [0, 255]),
        ("label_colors.txt", " sky\n sea", (0, 1), {0: "class 0", 1: "class 1"}, [0, 1]),
        (
            "my_class_dict.csv",
            "name,r,g,b\nvoid,0,0,0\nurban, 0, 255, 255\nwater,0,0,255\n",
            ([0, 0, 0], [0, 0, 255], [0, 255, 255]),
            {1: "urban", 2: "water"},
            [0, 1, 255],
        ),
    ],
)
def test_lists_of_classes_say_what_values_mean(tmp_path, file, text, values, classes, labels):
    write_pairs(tmp_path, values=values)
    (tmp_path / file).write_text(text)
    dataset = found(tmp_path)
    assert {entry.dataset_id: entry.name for entry in dataset.classes.classes} == classes
    assert labels_of(dataset) == labels


@pytest.mark.parametrize(
    ("file", "text", "values", "message"),
    [
        (
            "classes.txt",
            "sky\nsea\n",
            (0, 1, 2, 7),
            r"a.png holds the values 2, 7, which are no class; .* 0, 1, and 255",
        ),
        (
            "labelmap.txt",
            "a:0,0,0\nb:9,9,9",
            ([0, 0, 0], [1, 2, 3]),
            r"holds the colors \(1, 2, 3\), which are no class",
        ),
        ("classes.txt", "sky\nsky\n", (0, 1), r"classes.txt has the name 'sky' twice"),
        ("classes.txt", "", (0, 1), r"classes.txt is an empty list of classes"),
        ("labelmap.txt", "a:0,0,256", (0, 1), r"labelmap.txt has the color \[0, 0, 256\]"),
        ("class_dict.csv", "title,r,g,b\na,0,0,0", (0, 1), r"class_dict.csv is no list of classes"),
        ("classes.json", '{"a": "b"}', (0, 1), r"classes.json has the value 'a', which is no whole number"),
        ("readme.txt", "", ([0, 0, 0], [1, 2, 3]), r"a.png is a color image, and nothing says .* add a labelmap.txt"),
        ("readme.txt", "", (255,), r"The label files have 0 values besides 255, which cannot be classes"),
    ],
)
def test_values_and_lists_that_mean_nothing_are_named(tmp_path, file, text, values, message):
    write_pairs(tmp_path, values=values, names=["a", "b"])
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        labels_of(found(tmp_path)) + labels_of(found(tmp_path), "val")


def test_two_folders_of_labels_are_a_choice(tmp_path):
    write_pairs(tmp_path)
    write_pairs(tmp_path, label="labels/{}.png", values=(4, 5))
    with pytest.raises(
        ValueError, match=r"label files in labels, masks: choose one by data.train=labels or data.train"
    ):
        found(tmp_path)
    assert list(found(tmp_path, wanted={"train": "labels"}).classes.contiguous) == [4, 5]


def test_parts_are_named_by_the_user(tmp_path):
    for part in ("first", "second"):
        write_pairs(tmp_path, f"{part}/images/{{}}.jpg", f"{part}/masks/{{}}.png", names=[f"{part}_{n}" for n in NAMES])
    dataset = found(tmp_path, wanted={"train": "second", "val": "first/masks"})
    assert [os.path.basename(pair.file_name) for pair in read_part(dataset, "val")] == [f"first_{n}.jpg" for n in NAMES]
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"data.val=other has no image with a label file"):
        found(tmp_path, wanted={"train": "second", "val": "other"})


def test_a_label_that_two_images_fit_is_named(tmp_path):
    write_pairs(tmp_path)
    save_images(tmp_path, ["images/a.png"])
    with pytest.raises(ValueError, match=r"masks/a.png may belong to images/a.jpg or images/a.png"):
        found(tmp_path)


def test_labels_and_images_without_partners_are_said(tmp_path):
    write_pairs(tmp_path)
    save_images(tmp_path, ["images/alone.jpg"])
    faults = []
    assert len(read_part(found(tmp_path), "train", faults.append)) == 2
    assert [(fault.kind, fault.severity, fault.ids) for fault in faults] == [
        ("image-without-label", "warning", ("images/alone.jpg",))
    ]
    (tmp_path / "images/a.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 label files in .*masks have no image in .*images: .*masks/a.png; add"):
        read_part(found(tmp_path), "train")


def test_changes_hold_for_training_and_scoring(tmp_path):
    write_pairs(tmp_path, values=(3, 5, 8, 255))
    dataset = found(tmp_path)
    changes = ClassChanges(merge={"ground": ["class 3", "class 8"]}, drop=["class 5"])
    assert labels_of(dataset, changes=changes) == [0, 255]
    assert labels_of(dataset, changes=ClassChanges(rename={"class 5": "x"})) == [0, 1, 2, 255]
    metadata = MetadataCatalog.get("data_val")
    assert metadata.stuff_classes == ["class 3", "x", "class 8"]
    assert metadata.stuff_dataset_id_to_contiguous_id == {3: 0, 5: 1, 8: 2}
    (record,) = get_segmentation_dataset_dicts("data_val")
    sample = SemanticSegMapper(False, augmentations=[], num_classes=3)(record)
    evaluator = SemanticEvaluator("data_val")
    predicted = read_record_labels(record).astype(np.int64)
    evaluator.process([sample], [{"sem_seg": np.where(predicted == 255, 0, predicted)}])
    assert evaluator.evaluate()["sem_seg"]["mIoU"] == pytest.approx(100)
    targets = SemanticMaskMapper(True, augmentations=[], num_classes=3)(record)
    assert targets["instances"].gt_classes.tolist() == [0, 1, 2]
    assert "label_decoding" not in targets


def test_more_classes_than_a_byte_has(tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "classes.txt").write_text("".join(f"c{number}\n" for number in range(300)))
    dataset = found(tmp_path)
    register_dataset(dataset)
    assert MetadataCatalog.get("data_val").ignore_label == 65535
    assert labels_of(dataset) == [0, 1, 2]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("{}/images/{}.jpg", "{}/masks/{}.png"),
        ("images/{}/{}.jpg", "masks/{}/{}.png"),
        ("{}/{}.jpg", "{}/{}_mask.png"),
        ("images/{}/{}.jpg", "masks/{}/{}_mask.png"),
    ],
)
@pytest.mark.parametrize("parts", [True, False])
def test_folders_of_other_parts_that_lie_between_those_of_a_part_are_none_of_it(tmp_path, image, label, parts):
    expected = {}
    for place in ("a", "b", "c"):
        for part in ("train", "val") if parts else (place,):
            folder, name = (f"{place}/{part}" if parts else place), f"{place}_{part}"
            write_pairs(tmp_path, image.format(folder, "{}"), label.format(folder, "{}"), names=[name])
            expected.setdefault(part if parts else ("val" if place == "b" else "train"), set()).add(name)
    folder_of_b = image.rpartition("/")[0].format("b")
    dataset = found(tmp_path) if parts else found(tmp_path, wanted={"val": folder_of_b})
    assert dataset.split is None
    read = {part: {Path(one.file_name).stem for one in read_part(dataset, part)} for part in dataset.parts}
    assert read == expected

"""COCO's instances files are found and read wherever labelling tools put them and their images."""

import json
import os

import pytest

from focalnet_d2.data.folders.dataset import LAYOUT_NAMES
from focalnet_d2.data.folders.finding import choose_dataset, find_datasets
from focalnet_d2.data.folders.image_lists import read_part
from focalnet_d2.data.folders.layouts import LAYOUTS
from focalnet_d2.data.panoptic_png import write_panoptic_ids
from tests.data.folders.folder_sets import (
    CATEGORIES,
    PANOPTIC_IDS,
    coco_content,
    panoptic_content,
    save_images,
    write_coco,
    write_json,
    write_panoptic,
)

NAMES = ["a.jpg", "b.jpg", "c.jpg"]


def found_images(root, part="train", **settings):
    """Relative paths of the images of a part, which all exist."""
    dataset = choose_dataset(find_datasets(root, **settings), ["instances"])
    files = [image["file_name"] for image in read_part(dataset, part).images]
    assert all(os.path.isfile(file) for file in files)
    return [os.path.relpath(file, root) for file in files]


def roboflow(root):
    roots = ({"id": 0, "name": "pets", "supercategory": "none"},)
    categories = (*roots, *({**one, "supercategory": "pets"} for one in CATEGORIES))
    for folder in ("train", "valid", "test"):
        content = coco_content(NAMES, categories)
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] != 0]
        save_images(root / folder, NAMES)
        write_json(root / folder / "_annotations.coco.json", content)
    return {"train": "train/a.jpg", "val": "valid/a.jpg", "test": "test/a.jpg"}


def cvat(root):
    for part in ("Train", "Validation"):
        images = {f"{part}/day/{name}": f"images/{part}/day/{name}" for name in NAMES}
        write_coco(root, f"annotations/instances_{part}.json", images)
    return {"train": "images/Train/day/a.jpg", "val": "images/Validation/day/a.jpg"}


def cvat_default(root):
    write_coco(root, "annotations/instances_default.json", {name: f"images/{name}" for name in NAMES})
    return {"train": "images/a.jpg"}


def label_studio(root):
    write_coco(root, "result.json", {f"images/{name}": f"images/{name}" for name in NAMES})
    return {"train": "images/a.jpg"}


def label_studio_local(root):
    write_coco(root, "result.json", {f"..\\..\\label-studio\\media\\{name}": f"images/{name}" for name in NAMES})
    return {"train": "images/a.jpg"}


def labelme2coco(root):
    write_coco(root, "annotations.json", {f"JPEGImages/{name}": f"JPEGImages/{name}" for name in NAMES})
    return {"train": "JPEGImages/a.jpg"}


def coco(root):
    for part in ("train2017", "val2017"):
        write_coco(root, f"annotations/instances_{part}.json", {name: f"{part}/{name}" for name in NAMES})
        write_json(root / f"annotations/captions_{part}.json", coco_content(NAMES) | {"annotations": [{"caption": ""}]})
        keypoints = coco_content(NAMES, [{"id": 1, "name": "person", "keypoints": ["nose"]}])
        write_json(root / f"annotations/person_keypoints_{part}.json", keypoints)
    return {"train": "train2017/a.jpg", "val": "val2017/a.jpg"}


def datumaro(root):
    for part in ("train", "dev"):
        write_coco(root, f"annotations/instances_{part}.json", {name: f"images/{part}/{name}" for name in NAMES})
    return {"train": "images/train/a.jpg", "val": "images/dev/a.jpg"}


def datumaro_all(root):
    """What Datumaro writes as "coco": a file of images alone and one of stuff beside each file of instances."""
    first = datumaro(root)
    for part in ("train", "dev"):
        write_json(root / f"annotations/image_info_{part}.json", coco_content(NAMES) | {"annotations": []})
        write_json(root / f"annotations/stuff_{part}.json", coco_content(NAMES))
    return first


def supervision(root):
    write_coco(root, "annotations.json", {name: f"pictures/{name}" for name in NAMES})
    return {"train": "pictures/a.jpg"}


def several_folders(root):
    write_coco(root, "labels.json", {name: f"{index}/photos/{name}" for index, name in enumerate(NAMES)})
    return {"train": "0/photos/a.jpg"}


PLACEMENTS = [
    *(roboflow, cvat, cvat_default, label_studio, label_studio_local, labelme2coco, coco, datumaro, datumaro_all),
    *(supervision, several_folders),
]


@pytest.mark.parametrize("write", PLACEMENTS, ids=lambda function: function.__name__)
def test_every_placement_is_found(tmp_path, write):
    first = write(tmp_path)
    (dataset,) = find_datasets(tmp_path)
    assert (dataset.layout, dataset.kind, dataset.has_masks) == ("coco", "instances", True)
    assert dataset.classes.names == ["cat", "dog"]
    assert list(dataset.classes.contiguous) == [1, 3]
    assert (dataset.split is None) == ("val" in first)
    expected = {**first, "val": first.get("val", first["train"])}
    assert set(dataset.parts) == set(expected)
    for part, image in first.items():
        if part == "train" and dataset.split is not None:
            continue
        assert found_images(tmp_path, part)[0] == image
    content = read_part(dataset, "train")
    assert list(content.class_names.values()) == ["cat", "dog"]


def test_parts_are_named_by_the_user(tmp_path):
    for name in ("first", "second"):
        write_coco(tmp_path, f"{name}/labels.json", {f"{name}_{one}": f"{name}/{name}_{one}" for one in NAMES})
    with pytest.raises(ValueError, match=r"2 candidates for the part 'train': .*data.train=first/labels.json or data"):
        found_images(tmp_path)
    wanted = {"train": "second/labels.json", "val": "first"}
    assert found_images(tmp_path, "train", wanted=wanted)[0] == "second/second_a.jpg"
    assert found_images(tmp_path, "val", wanted=wanted)[0] == "first/first_a.jpg"
    with pytest.raises(ValueError, match=r"data.val=nowhere: .*nowhere does not exist"):
        find_datasets(tmp_path, wanted={"val": "nowhere"})
    with pytest.raises(ValueError, match=r"outside .*make data.root the folder of all parts"):
        find_datasets(tmp_path / "first", wanted={"val": "../second"})


def test_of_a_named_folder_the_file_of_the_part_is_taken(tmp_path):
    for folder in ("old", "new"):
        for part in ("train", "val"):
            names = {f"{folder}_{part}_{name}": f"{folder}/{part}/{folder}_{part}_{name}" for name in NAMES}
            write_coco(tmp_path, f"{folder}/{part}.json", names)
    wanted = {"train": "new", "val": "old"}
    assert found_images(tmp_path, "train", wanted=wanted)[0].startswith("new/train/")
    assert found_images(tmp_path, "val", wanted=wanted)[0].startswith("old/val/")


def test_a_part_is_named_by_its_images(tmp_path):
    for part in ("train2017", "val2017"):
        write_coco(tmp_path, f"annotations/{part}.json", {f"{part}_{name}": f"{part}/{part}_{name}" for name in NAMES})
    assert found_images(tmp_path, "train", wanted={"train": "val2017", "val": "train2017"})[0].startswith("val2017/")


def test_images_of_one_name_belong_to_the_part_of_their_folder(tmp_path):
    for part in ("train", "val"):
        write_coco(tmp_path, f"{part}.json", {name: f"{part}/{name}" for name in NAMES})
    assert found_images(tmp_path, "val") == [f"val/{name}" for name in NAMES]


def test_images_are_preferred_to_label_files_of_the_same_names(tmp_path):
    write_coco(tmp_path, "annotations/instances_default.json", {"a.png": "images/a.png"})
    save_images(tmp_path / "masks", ["a.png"])
    dataset = choose_dataset(find_datasets(tmp_path), ["instances"])
    assert dataset.parts["train"].images == str(tmp_path / "images")


def test_images_of_which_one_is_missing_are_preferred_to_all_label_files(tmp_path):
    write_coco(tmp_path, "annotations/instances_default.json", {name: f"images/{name}" for name in NAMES})
    save_images(tmp_path / "masks", NAMES)
    (tmp_path / "images" / NAMES[1]).unlink()
    (dataset,) = find_datasets(tmp_path)
    assert dataset.parts["train"].images == str(tmp_path / "images")


@pytest.mark.parametrize(("images", "labels"), [("train", "train_png"), ("b", "a"), ("png", "colors")])
def test_segments_tell_the_folder_of_panoptic_files_from_images_of_the_same_names(tmp_path, images, labels):
    save_images(tmp_path / images, ["a.png"])
    write_panoptic_ids(PANOPTIC_IDS, tmp_path / labels / "a.png")
    write_json(tmp_path / "train.json", panoptic_content(["a.png"]))
    part = choose_dataset(find_datasets(tmp_path), ["panoptic"]).parts["train"]
    assert (part.images, part.options["panoptic_root"]) == (str(tmp_path / images), str(tmp_path / labels))


def test_images_that_may_be_meant_by_one_name_are_named(tmp_path):
    write_coco(tmp_path, "labels.json", {"x/a.jpg": "1/a.jpg", "x/b.jpg": "2/b.jpg", "x/c.jpg": "3/c.jpg"})
    save_images(tmp_path / "2", ["a.jpg"])
    with pytest.raises(ValueError, match=r"labels.json names the file 'x/a.jpg', but 1/a.jpg, 2/a.jpg .* all be meant"):
        found_images(tmp_path)


def test_images_that_are_nowhere_are_named(tmp_path):
    write_json(tmp_path / "annotations.json", coco_content(NAMES))
    with pytest.raises(ValueError, match=r"None of the 3 files that .*annotations.json names .*a.jpg, b.jpg .*1 .json"):
        find_datasets(tmp_path)


def test_equal_copies_of_all_images_are_refused(tmp_path):
    write_coco(tmp_path, "annotations.json", {name: f"one/{name}" for name in NAMES})
    save_images(tmp_path / "two", NAMES)
    with pytest.raises(ValueError, match=r"are in 2 folders, .*one, .*two: keep one"):
        found_images(tmp_path)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "dog"}, {"id": 3, "name": "cat"}], r"contradict each other: .*'cat'.* the same id"),
        ([{"id": 7, "name": "dog"}], r"contradict each other: .*'dog'.* the same name"),
    ],
)
def test_parts_with_other_classes_are_refused(tmp_path, categories, message):
    write_coco(tmp_path, "train.json", {name: f"train/{name}" for name in NAMES})
    write_coco(tmp_path, "val.json", {name: f"val/{name}" for name in NAMES}, categories=categories)
    with pytest.raises(ValueError, match=message):
        find_datasets(tmp_path)


def test_a_part_without_any_object_is_a_part(tmp_path):
    write_coco(tmp_path, "train.json", {name: f"train/{name}" for name in NAMES})
    save_images(tmp_path / "val", NAMES)
    write_json(tmp_path / "val.json", coco_content(NAMES) | {"annotations": []})
    (dataset,) = find_datasets(tmp_path)
    assert dataset.split is None
    assert dataset.has_masks


def test_other_kinds_of_annotations_are_taken_where_they_are_named(tmp_path):
    """Keypoints have boxes, too."""
    write_coco(tmp_path, "people.json", NAMES, categories=[{"id": 1, "name": "person", "keypoints": ["nose"]}])
    with pytest.raises(ValueError, match="no data set that is known"):
        find_datasets(tmp_path)
    (dataset,) = find_datasets(tmp_path, wanted={"train": "people.json"})
    assert dataset.classes.names == ["person"]


def test_a_part_may_lack_a_class(tmp_path):
    write_coco(tmp_path, "train.json", {name: f"train/{name}" for name in NAMES})
    write_coco(tmp_path, "val.json", {name: f"val/{name}" for name in NAMES}, categories=CATEGORIES[1:])
    (dataset,) = find_datasets(tmp_path)
    assert dataset.classes.names == ["cat", "dog"]


def test_boxes_alone_are_no_masks(tmp_path):
    write_coco(tmp_path, "annotations.json", NAMES, segmentation=[])
    (dataset,) = find_datasets(tmp_path)
    assert not dataset.has_masks


def test_damaged_files_are_named(tmp_path):
    write_coco(tmp_path, "annotations.json", NAMES)
    text = (tmp_path / "annotations.json").read_text()
    (tmp_path / "annotations.json").write_text(text[: len(text) // 2 + 200])
    with pytest.raises(ValueError, match=r"annotations.json is not valid JSON"):
        find_datasets(tmp_path)


def test_files_of_another_kind_are_no_data_set(tmp_path):
    save_images(tmp_path, NAMES)
    write_json(tmp_path / "results.json", [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}])
    write_json(tmp_path / "a.json", {"shapes": [], "imagePath": "a.jpg"})
    with pytest.raises(ValueError, match=r"no data set that is known. Looked for: coco \(.*There are: 3 .jpg, 2 .json"):
        find_datasets(tmp_path, layout="coco")


def test_two_readings_of_one_kind_are_a_choice(tmp_path):
    write_coco(tmp_path, "annotations.json", {name: f"images/{name}" for name in NAMES})
    (tmp_path / "labels").mkdir()
    for name in "abc":
        (tmp_path / f"labels/{name}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: images\n")
    message = r"can be read in 2 ways \(coco: COCO's .*; yolo: .*\): choose by data.layout=coco or data.layout=yolo"
    with pytest.raises(ValueError, match=message):
        found_images(tmp_path)
    assert len(found_images(tmp_path, layout="coco")) == 2


def test_files_that_cannot_be_used_do_not_hide_another_kind(tmp_path):
    write_panoptic(tmp_path, "train")
    for name in ("first", "second"):
        write_coco(tmp_path, f"{name}.json", {"train_0.jpg": "train/train_0.jpg"})
    found = find_datasets(tmp_path)
    assert choose_dataset(found, ["panoptic"]).layout == "coco-panoptic"
    with pytest.raises(ValueError, match=r"2 candidates for the part 'train'"):
        choose_dataset(found, ["instances"])


def test_a_reading_that_fails_is_no_warning_beside_another_of_the_same_kind(tmp_path):
    write_coco(tmp_path / "mine", "annotations.json", {name: f"images/{name}" for name in NAMES})
    (tmp_path / "yours/labels").mkdir(parents=True)
    (tmp_path / "yours/labels/a.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "yours/data.yaml").write_text("names: [cat]\ntrain: nowhere\n")
    message = (
        r"can be read as coco \(.*also looks like yolo, which cannot be used: choose by data.layout=coco .* As yolo:"
    )
    with pytest.raises(ValueError, match=message):
        found_images(tmp_path)
    assert len(found_images(tmp_path, layout="coco")) == len(found_images(tmp_path / "mine")) == 2  # one is split off


@pytest.mark.parametrize("layout", ["auto", "coco", "yolo"])
def test_a_part_that_is_nowhere_is_said_with_the_nearest_name(tmp_path, layout):
    write_coco(tmp_path, "annotations.json", {name: f"images/train/{name}" for name in NAMES})
    message = r"data.train=images/trian: .*/images/trian does not exist; .* did you mean data.train=images/train\?$"
    with pytest.raises(ValueError, match=message):
        find_datasets(tmp_path, wanted={"train": "images/trian"}, layout=layout)
    with pytest.raises(ValueError, match="its sub-folders are images, images/train"):
        find_datasets(tmp_path, wanted={"val": "xyz"}, layout=layout)


def test_hidden_folders_and_loops_are_left_out(tmp_path):
    write_coco(tmp_path, "data/annotations.json", {name: f"data/{name}" for name in NAMES})
    for folder in (".cache", "__MACOSX"):
        write_json(tmp_path / folder / "annotations.json", coco_content(NAMES))
    (tmp_path / "data" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert found_images(tmp_path, "val")[0].startswith("data/")


def test_unknown_layouts_and_parts_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data.layout='voc2' is unknown: choose auto or one of coco, "):
        find_datasets(tmp_path, layout="voc2")
    with pytest.raises(ValueError, match=r"has the parts train, val, test, not dev"):
        find_datasets(tmp_path, wanted={"dev": "x"})
    with pytest.raises(FileNotFoundError, match=r"The data folder .*none does not exist"):
        find_datasets(tmp_path / "none")


def test_content_is_what_the_files_say(tmp_path):
    """A recognized set is read by the rules of all others: the annotations of the file, with absolute names."""
    cvat_default(tmp_path)
    (dataset,) = find_datasets(tmp_path)
    content = json.loads((tmp_path / "annotations/instances_default.json").read_text())
    names = {image["file_name"] for part in ("train", "val") for image in read_part(dataset, part).images}
    assert names == {str(tmp_path / "images" / image["file_name"]) for image in content["images"]}


@pytest.mark.parametrize("name", ["C:\\data\\{}\\{}", "/elsewhere/set/{}/{}", "old/{}/{}"])
def test_paths_of_another_machine_are_told_apart_by_their_last_folders(tmp_path, name):
    images = {name.format(place, one): f"images/{place}/{one}" for place in ("x", "y") for one in NAMES}
    write_coco(tmp_path, "annotations.json", images)
    found = found_images(tmp_path), found_images(tmp_path, "val")
    assert sorted([*found[0], *found[1]]) == sorted(images.values())


def test_ids_that_are_no_whole_numbers_are_named(tmp_path):
    categories = [{"id": 1.5, "name": "cat"}]
    write_coco(tmp_path, "annotations.json", NAMES, categories=categories)
    with pytest.raises(ValueError, match=r"annotations.json: categories have an id that is neither .*: 1.5"):
        find_datasets(tmp_path, layout="coco")


def test_a_file_in_place_of_a_folder_is_said(tmp_path):
    write_coco(tmp_path, "annotations.json", NAMES)
    with pytest.raises(FileNotFoundError, match="annotations.json is a file: name the folder that has it"):
        find_datasets(tmp_path / "annotations.json")


def test_what_is_wrong_for_all_layouts_is_said_once(tmp_path):
    write_coco(tmp_path, "annotations/instances_train.json", NAMES)
    write_panoptic(tmp_path, "train")
    with pytest.raises(ValueError, match=r"^data.val=nowhere: .*nowhere does not exist; write a path relative to"):
        find_datasets(tmp_path, wanted={"val": "nowhere"})


def test_the_names_of_the_layouts_are_known_without_importing_them():
    assert tuple(LAYOUTS) == LAYOUT_NAMES

"""Every fault that is planted: check-data --fix, and then the copy passes check-data, by exit status."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.commands.main import main
from tests.data.checks import planted, planted_images
from tests.data.checks.label_sets import write_instances, write_panoptic, write_semantic
from tests.data.checks.planted_images import json_of, scene, write_folder
from tests.data.checks.test_reading_errors import YOLO
from tests.data.folders.labelled_folders import write

NOTHING_LEFT = {"no value but the ignored one"}  # the whole set has nothing to learn


def of_images(plant):
    return lambda root: plant(write_folder(root))


def soft_images(folder: Path, count: int, first: int = 0) -> None:
    """Pictures that are not alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene(first + number).save(folder / f"{first + number}.png")


def two_classes_of_one_name(root: Path) -> None:
    def change(content):
        content["categories"].append({"id": 12, "name": "owl"})
        for entry in content["annotations"][::4]:
            entry["category_id"] = 12

    write_instances(root, change)


def parts_that_contradict_each_other(root: Path) -> None:
    content = json.loads(json_of(write_folder(root), "val").read_text())
    content["categories"] = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    json_of(root, "val").write_text(json.dumps(content))


def one_part(root: Path, change) -> None:
    """Class folders without a validation part."""
    for number, name in enumerate(("cat", "dog")):
        soft_images(root / name, 8, 100 * number)
    change(root)


def nearly_the_same(root: Path) -> None:
    for number in range(8):
        Image.open(root / "cat" / f"{number}.png").save(root / "cat" / f"{number}_again.jpg", quality=90)


def the_same(root: Path) -> None:
    for number in range(8):
        (root / "cat" / f"{number}_again.png").write_bytes((root / "cat" / f"{number}.png").read_bytes())


def repeated_pair(root: Path) -> None:
    write_semantic(root, ["ground", "tree", "water"])
    for folder in ("images", "labels"):
        (root / folder / "10.png").write_bytes((root / folder / "3.png").read_bytes())


def repeated_panoptic(root: Path) -> None:
    write_panoptic(root)
    (root / "train" / "8.png").write_bytes((root / "train" / "3.png").read_bytes())


def of_one_stuff_name(root: Path) -> None:
    def change(content):
        content["categories"].append({"id": 21, "name": "sky", "isthing": 0})
        content["annotations"][0]["segments_info"][1]["category_id"] = 21

    write_panoptic(root, change)


CASES = {
    **{name: row.write for name, row in planted.ALL.items() if name not in NOTHING_LEFT},
    **{f"image: {name}": of_images(row.plant) for name, row in planted_images.PLANTED.items()},
    "two classes of one name": two_classes_of_one_name,
    "parts that contradict each other": parts_that_contradict_each_other,
    "two kinds of stuff of one name": of_one_stuff_name,
    "yolo: two classes of one name": lambda root: write(
        root,
        {
            **YOLO,
            "data.yaml": "names: [cat, dog, cat]",
            "images/b.png": scene(7, (40, 20)),
            "labels/b.txt": "2 0.5 0.5 0.2 0.2",
        },
    ),
    "the same image in a semantic set": repeated_pair,
    "the same image in a panoptic set": repeated_panoptic,
    "the same images, and validation images to be split off": lambda root: one_part(root, the_same),
    "nearly the same images, and validation images to be split off": lambda root: one_part(root, nearly_the_same),
}


def check(root: Path, *options: str) -> int:
    return main(["check-data", str(root), "--workers", "1", "--json", "--out", str(root.parent / "page"), *options])


@pytest.mark.parametrize("case", CASES)
def test_the_copy_of_a_faulty_set_passes_the_check_and_its_changes_are_listed(tmp_path, case, capsys):
    CASES[case](tmp_path / "set")
    before = check(tmp_path / "set", "--fix", str(tmp_path / "copy"))
    capsys.readouterr()
    after = check(tmp_path / "copy")
    left = [fault for fault in json.loads(capsys.readouterr().out)["faults"] if fault["severity"] != "note"]
    assert left == []
    assert after == 0
    changes = json.loads((tmp_path / "copy" / "changes.json").read_text())["changes"]
    assert bool(changes) or before == 0


@pytest.mark.parametrize("case", sorted(NOTHING_LEFT))
def test_a_set_with_nothing_to_learn_is_not_copied(tmp_path, case, capsys):
    planted.ALL[case].write(tmp_path / "set")
    assert check(tmp_path / "set", "--fix", str(tmp_path / "copy")) != 0
    assert "cannot be mended: no image with a pixel of a class is left" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def kept(copy: Path, part: str) -> list[int]:
    return [image["id"] for image in json.loads(json_of(copy, part).read_text())["images"]]


@pytest.mark.parametrize(
    ("case", "train", "val"),
    [
        ("exact duplicate", [11, 12, 13], [21, 22]),
        ("leak", [11, 13, 14], [21, 22]),
        ("near leak", [11, 13, 14], [21, 22]),
    ],
)
def test_of_repeated_images_the_one_that_is_scored_stays(tmp_path, case, train, val, capsys):
    planted_images.PLANTED[case].plant(write_folder(tmp_path / "set"))
    check(tmp_path / "set", "--fix", str(tmp_path / "copy"))
    assert (kept(tmp_path / "copy", "train"), kept(tmp_path / "copy", "val")) == (train, val)
    changes = json.loads((tmp_path / "copy" / "changes.json").read_text())["changes"]
    gone = str(({11, 12, 13, 14} - set(train)).pop())
    (change,) = [one for one in changes if one["id"] == gone]
    assert "same image as" in change["what"]
    assert len(changes) == 3  # the image and its two objects


def test_a_class_of_two_ids_has_all_its_objects_in_the_copy(tmp_path, capsys):
    two_classes_of_one_name(tmp_path / "set")
    check(tmp_path / "set", "--fix", str(tmp_path / "copy"))
    content = json.loads((tmp_path / "copy" / "annotations" / "instances_train.json").read_text())
    assert content["categories"] == [{"id": 4, "name": "owl"}, {"id": 9, "name": "fox"}]
    assert [entry["category_id"] for entry in content["annotations"]] == [4, 9] * 4
    text = (tmp_path / "copy" / "changes.md").read_text()
    assert "its id becomes 4, that of the class of its name" in text
    assert "category_id: 12 -> 4" in text


def test_classes_that_parts_number_differently_keep_their_names(tmp_path, capsys):
    parts_that_contradict_each_other(tmp_path / "set")
    check(tmp_path / "set", "--fix", str(tmp_path / "copy"))
    train, val = (json.loads(json_of(tmp_path / "copy", part).read_text()) for part in ("train", "val"))
    assert sorted((one["id"], one["name"]) for one in val["categories"]) == [(3, "cat"), (7, "dog")]
    assert train["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert [entry["category_id"] for entry in val["annotations"]] == [7, 3] * 2


def test_an_object_without_a_mask_is_neither_learned_nor_scored_in_the_copy(tmp_path, capsys):
    planted.ALL["one object without a mask"].write(tmp_path / "set")
    check(tmp_path / "set", "--fix", str(tmp_path / "copy"))
    content = json.loads((tmp_path / "copy" / "annotations" / "instances_train.json").read_text())
    (crowd,) = [entry for entry in content["annotations"] if entry["iscrowd"]]
    assert crowd["id"] == 106
    assert crowd["area"] == np.prod(crowd["bbox"][2:])
    check(tmp_path / "set", "--recipe", "dino_focalnet_mini_balloon", "--fix", str(tmp_path / "boxes"))
    content = json.loads((tmp_path / "boxes" / "annotations" / "instances_train.json").read_text())
    assert not any(entry["iscrowd"] for entry in content["annotations"])


@pytest.mark.parametrize(
    ("recipe", "severity"),
    [("mask2former_focalnet_mini_nuclei", "error"), ("dino_focalnet_mini_balloon", "note"), (None, "warning")],
)
def test_what_a_missing_mask_means_depends_on_the_recipe(tmp_path, recipe, severity, capsys):
    planted.ALL["one object without a mask"].write(tmp_path / "set")
    check(tmp_path / "set", *(["--recipe", recipe] if recipe else []))
    (fault,) = [one for one in json.loads(capsys.readouterr().out)["faults"] if one["kind"] == "mask-missing"]
    assert (fault["severity"], fault["ids"]) == (severity, ["106"])


def test_a_leak_of_our_own_split_is_found_with_the_way_out(tmp_path, capsys):
    one_part(tmp_path / "set", nearly_the_same)
    assert check(tmp_path / "set") == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    leaks = [fault for fault in faults if fault["kind"] == "nearly-leaked-image"]
    assert leaks
    assert all("data.split_groups=" in fault["message"] and "--fix" in fault["message"] for fault in leaks)
    assert check(tmp_path / "set", "--split-groups", r"([a-z]+/\d+)(_again)?\.") == 0  # as the message says


def test_an_image_that_cannot_be_split_is_found(tmp_path, capsys):
    write_folder(tmp_path / "set")
    json_of(tmp_path / "set", "val").unlink()
    content = json.loads(json_of(tmp_path / "set", "train").read_text())
    content["images"] = content["images"][:1]
    content["annotations"] = content["annotations"][:2]
    json_of(tmp_path / "set", "train").write_text(json.dumps(content))
    assert check(tmp_path / "set") == 1
    assert "no-validation-images" in [one["kind"] for one in json.loads(capsys.readouterr().out)["faults"]]

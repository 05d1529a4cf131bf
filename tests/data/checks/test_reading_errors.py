"""Errors that end a reading are found by check-data with code, file and ids, whatever the layout."""

import json
import pickle
from pathlib import Path

import pytest

from focalnet_d2.commands.main import main
from focalnet_d2.data.annotations.faults import Fault, FaultError, fault_of, strict
from tests.data.checks.label_sets import instances, panoptic, write_instances, write_panoptic, write_semantic
from tests.data.folders.folder_sets import save_images
from tests.data.folders.labelled_folders import voc_xml, write

YOLO = {"images/a.png": None, "labels/a.txt": "0 0.5 0.5 0.2 0.2"}
VOC = {"a.png": None, "a.xml": voc_xml("cat 1 1 9 9")}
CVAT = '<annotations><image id="0" name="a.png" width="40" height="20">{}</image></annotations>'
BOX = '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"/>'
SHAPE = {"label": "cat", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
LABELME = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 40, "shapes": [SHAPE]}
COCO_JSON, PANOPTIC_JSON = "annotations/instances_train.json", "annotations/panoptic_train.json"


def coco(change):
    return lambda root: write_instances(root, change)


def of_panoptic(change):
    return lambda root: write_panoptic(root, change)


def texts(files, **others):
    return lambda root: write(root, {**files, **others})


def cut(write_set, name):
    """The set with one file that ends in its middle."""

    def write_cut(root):
        write_set(root)
        (root / name).write_bytes((root / name).read_bytes()[:-40])

    return write_cut


def two_parts(root: Path) -> None:
    write_instances(root)
    other = instances()
    other["categories"] = [{"id": 4, "name": "fox"}, {"id": 9, "name": "owl"}]
    (root / "annotations" / "instances_val.json").write_text(json.dumps(other))


def two_panoptic_parts(root: Path) -> None:
    write_panoptic(root)
    other = panoptic()
    other["categories"][0]["name"] = "cow"
    (root / "annotations" / "panoptic_val.json").write_text(json.dumps(other))


def semantic(**files):
    def write_files(root):
        write_semantic(root, None)
        write(root, {name.replace("_txt", ".txt"): text for name, text in files.items()})

    return write_files


CASES = {  # what is written, and the code, file and ids that are found
    "coco: damaged JSON": (cut(write_instances, COCO_JSON), "json-damaged", COCO_JSON, []),
    "coco: two classes of one name": (
        coco(lambda c: c["categories"].append({"id": 12, "name": "owl"})), "duplicate-category-name", COCO_JSON,
        ["4", "12"],
    ),
    "coco: two classes of one id": (
        coco(lambda c: c["categories"].append({"id": 4, "name": "cow"})), "duplicate-category-id", COCO_JSON, ["4"],
    ),
    "coco: parts contradict each other": (
        two_parts, "contradicting-categories", "annotations/instances_val.json", ["4", "9"]
    ),
    "coco: no category": (coco(lambda c: c["categories"].clear()), "no-categories", COCO_JSON, []),
    "coco: a class without a name": (
        coco(lambda c: c["categories"][1].update(name=" ")), "category-name", COCO_JSON, ["9"]
    ),
    "coco: ids of classes in two forms": (
        coco(lambda c: c["categories"].append({"id": "7", "name": "cow"})), "category-id-type", COCO_JSON,
        ["4", "9", "7"],
    ),
    "coco: no file names": (
        coco(lambda c: [image.pop("file_name") for image in c["images"]]), "file-name", COCO_JSON, []
    ),
    "coco: no image is there": (
        coco(lambda c: [image.update(file_name=f"x{image['id']}.png") for image in c["images"]]), "missing-images",
        COCO_JSON, ["x3.png", "x5.png", "x8.png", "x9.png"],
    ),
    "coco: a list that is none": (coco(lambda c: c.update(images=3)), "not-a-list-of-objects", COCO_JSON, ["images"]),
    "panoptic: damaged JSON": (cut(write_panoptic, PANOPTIC_JSON), "json-damaged", PANOPTIC_JSON, []),
    "panoptic: two classes of one name": (
        of_panoptic(lambda c: c["categories"].append({"id": 12, "name": "owl", "isthing": 1})),
        "duplicate-category-name", PANOPTIC_JSON, ["owl"],
    ),
    "panoptic: parts contradict each other": (
        two_panoptic_parts, "contradicting-categories", "annotations/panoptic_val.json", ["1"]
    ),
    "panoptic: a flag of a class": (
        of_panoptic(lambda c: c["categories"][1].update(isthing="yes")), "category-name", PANOPTIC_JSON, ["4"]
    ),
    "yolo: damaged yaml": (texts(YOLO, **{"data.yaml": "names: [cat"}), "yaml-damaged", "data.yaml", []),
    "yolo: two classes of one name": (
        texts(YOLO, **{"data.yaml": "names: [cat, dog, cat]"}), "duplicate-category-name", "data.yaml", ["0", "2"]
    ),
    "yolo: another number of classes": (
        texts(YOLO, **{"data.yaml": "names: [cat]\nnc: 3"}), "category-count", "data.yaml", []
    ),
    "yolo: a part that is not there": (
        texts(YOLO, **{"data.yaml": "names: [cat]\ntrain: images\nval: nowhere"}), "missing-images", "data.yaml",
        ["val"],
    ),
    "voc: damaged XML": (
        texts(VOC, **{"b.png": None, "b.xml": voc_xml("cat 1 1 9 9")[:-9]}), "xml-damaged", "b.xml", []
    ),
    "voc: a list that lacks a class": (texts(VOC, **{"labels.txt": "dog"}), "category-unknown", "labels.txt", ["cat"]),
    "voc: a list that is no text": (
        lambda root: (write(root, VOC) / "labels.txt").write_bytes(b"caf\xe9"), "not-utf-8", "labels.txt", []
    ),
    "voc: no object": (texts({"a.png": None, "a.xml": voc_xml()}), "no-categories", "", []),
    "cvat: tracks of a video": (
        texts({"a.png": None, "a.xml": CVAT.format(BOX).replace("</annotations>", "<track/></annotations>")}),
        "video-tracks", "a.xml", [],
    ),
    "cvat: damaged XML": (texts({"a.png": None, "a.xml": CVAT.format(BOX)[:-9]}), "xml-damaged", "a.xml", []),
    "labelme: a list that lacks a class": (
        texts({"a.png": None, "a.json": LABELME, "labels.txt": "dog"}), "category-unknown", "labels.txt", ["cat"]
    ),
    "labelme: damaged JSON": (
        texts({"a.png": None, "a.json": json.dumps(LABELME)[:-9]}), "json-damaged", "a.json", []
    ),
    "semantic: two classes of one name": (
        semantic(classes_txt="ground\ntree\nground"), "duplicate-category-name", "classes.txt", ["0", "2"]
    ),
    "semantic: two values that are one": (
        semantic(classes_txt="0 ground\n1 tree\n1 water"), "duplicate-category-id", "classes.txt", ["1"]
    ),
    "semantic: no class": (semantic(classes_txt="ignore"), "no-categories", "classes.txt", []),
    "class folders: loose images": (
        lambda root: save_images(root / "train", ["x.png", "cat/1.png", "cat/2.png", "dog/1.png"]),
        "image-without-class", "train", ["x.png"],
    ),
    "class folders: a part among classes": (
        lambda root: save_images(root, ["train/1.png", "cat/1.png", "dog/1.png"]), "part-among-classes", "", ["train"]
    ),
}  # fmt: skip


def checked(root: Path, capsys) -> list[dict]:
    """The faults that check-data prints, and its exit status has to be 1."""
    assert main(["check-data", str(root), "--workers", "1", "--json", "--out", str(root.parent / "page")]) == 1
    return json.loads(capsys.readouterr().out)["faults"]


@pytest.mark.parametrize("case", CASES)
def test_an_error_that_ends_a_reading_is_found_with_code_file_and_ids(tmp_path, case, capsys):
    write_set, kind, file, ids = CASES[case]
    root = tmp_path / "set"
    root.mkdir()
    if "coco" in case or "panoptic" in case or "semantic" in case:
        root.rmdir()
    write_set(root)
    found = [fault for fault in checked(root, capsys) if fault["kind"] == kind]
    assert [(fault["severity"], fault["file"], fault["ids"]) for fault in found] == [
        ("error", str(root / file) if file else str(root), ids)
    ]
    page = (tmp_path / "page" / "check.html").read_text()
    assert kind in page
    assert (file or str(root)) in page


def test_a_folder_without_data_is_a_fault_of_the_folder(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    (fault,) = checked(tmp_path / "set", capsys)
    assert (fault["kind"], fault["file"]) == ("no-usable-data", str(tmp_path / "set"))


def test_what_one_layout_of_several_lacks_is_found_with_its_code(tmp_path, capsys):
    write_instances(tmp_path / "set")
    write(tmp_path / "set", {"other.xml": CVAT.format(BOX).replace("</annotations>", "<track/></annotations>")})
    (fault,) = checked(tmp_path / "set", capsys)
    assert (fault["kind"], fault["severity"]) == ("video-tracks", "error")
    assert fault["message"].startswith("The folder also looks like cvat, but: ")


def test_an_error_keeps_its_fault_on_its_way_through_processes():
    fault = Fault("box-value", "error", "a.json", "a.json has a strange box.", ("7",), 3)
    with pytest.raises(FaultError, match="strange box") as raised:
        strict(fault)
    again = pickle.loads(pickle.dumps(raised.value))
    assert fault_of(again, "other", "b.json") == fault
    assert fault_of(ValueError("no"), "other", "b.json", [3, 3]) == Fault("other", "error", "b.json", "no", ("3",), 1)

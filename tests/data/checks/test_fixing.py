"""Mended copies: they pass the check and score what is true; originals stay, and nothing is left half-written."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from focalnet_d2.data.fixing.changes import Changes
from focalnet_d2.data.fixing.copy import write_mended_copy
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.image_reading import read_image
from tests.data.checks.label_sets import (
    HEIGHT,
    WIDTH,
    faults_in,
    instances,
    panoptic,
    serious,
    write_instances,
    write_panoptic,
)
from tests.data.checks.planted import ALL, INSTANCES
from tests.data.folders.labelled_folders import voc_xml, write
from tests.own_data_folders import write_labelled

NOTHING_LEFT = "no value but the ignored one"  # only people can draw something


def mended(tmp_path, write):
    write(tmp_path / "set")
    changes = write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    return tmp_path / "copy", changes


def digests(root):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", sorted(ALL.keys() - {NOTHING_LEFT}))
def test_the_copy_of_a_faulty_set_is_clean_and_its_changes_are_listed(tmp_path, case):
    ALL[case].write(tmp_path / "set")
    before = digests(tmp_path / "set")
    changes = write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    left = serious(faults_in(tmp_path / "copy"))
    assert left == []
    assert digests(tmp_path / "set") == before
    assert changes.changes
    listed = json.loads((tmp_path / "copy" / "changes.json").read_text())["changes"]
    assert [change["what"] for change in listed] == [change.what for change in changes.changes]
    text = (tmp_path / "copy" / "changes.md").read_text()
    assert all(change.id in text and change.file in text for change in changes.changes)


def write_predictions(root: Path) -> None:
    """The truth itself as predictions, with areas as the pixels say."""
    shutil.copytree(root / "panoptic_train", root.parent / "predicted")
    annotations = panoptic()["annotations"]
    (root.parent / "predicted.json").write_text(json.dumps({"annotations": annotations}))


def panoptic_quality(root: Path) -> float:
    """Of the truth as predictions, by panopticapi."""
    pq_compute = pytest.importorskip("panopticapi.evaluation").pq_compute
    truth = root / "annotations" / "panoptic_train.json"
    predicted = root.parent / "predicted.json"
    result = pq_compute(str(truth), str(predicted), str(root / "panoptic_train"), str(root.parent / "predicted"))
    return 100 * result["All"]["pq"]


@pytest.mark.parametrize(("factor", "wrong"), [(0.5, 200.0), (0.05, 2000.0), (3, 0.0)])
def test_wrong_areas_give_a_wrong_pq_and_the_copy_the_true_one(tmp_path, factor, wrong):
    def change(content):
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["area"] *= factor

    write_panoptic(tmp_path / "set", change)
    write_predictions(tmp_path / "set")
    assert panoptic_quality(tmp_path / "set") == pytest.approx(wrong, rel=1e-3)
    write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    assert panoptic_quality(tmp_path / "copy") == pytest.approx(100)


def average_precision(root: Path) -> dict[str, float]:
    """Box AP of the true boxes as detections, over all objects and by their size, by pycocotools."""
    truth = COCO(str(root / "annotations" / "instances_train.json"))
    detections = [
        {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.9}
        for entry in instances()["annotations"]
    ]
    scores = COCOeval(truth, truth.loadRes(detections), "bbox")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    return {"all": scores.stats[0], "small": scores.stats[3]}


@pytest.mark.parametrize(
    "case",
    [
        "boxes of corners",
        "boxes in shares of the sides",
        "a class id as text",
        "every object a crowd",
        "an image id as text",
        "an object twice",
        "a negative box",
        "a box that is not finite",
        "three times the area of boxes",
        "a flag as text",
        "one object without a mask",
    ],
)
def test_perfect_detections_score_1_on_the_copy_of_a_faulty_set(tmp_path, case):
    INSTANCES[case].write(tmp_path / "set")
    write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    assert average_precision(tmp_path / "copy") == pytest.approx({"all": 1, "small": 1})


def test_objects_count_in_their_size_again_once_their_areas_are_right(tmp_path):
    write_instances(tmp_path / "set", lambda c: [entry.update(area=9000) for entry in c["annotations"]])
    assert average_precision(tmp_path / "set")["small"] == -1  # none is small
    write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    assert average_precision(tmp_path / "copy")["small"] == pytest.approx(1)


def turned(path: Path, image: Image.Image) -> None:
    """A file whose EXIF data turn the image by a quarter."""
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


def image_faults(root: Path) -> None:
    """Image 3 is turned, and its labels know; 5 has alpha; 8 is cut off; 9 is gray with 16 bits."""
    write_instances(root)
    folder = root / "train"
    turned(folder / "3.png", Image.open(folder / "3.png").transpose(Image.Transpose.ROTATE_90))
    Image.open(folder / "5.png").convert("RGBA").save(folder / "5.png")
    (folder / "8.png").write_bytes((folder / "8.png").read_bytes()[:500])
    Image.fromarray(np.full((HEIGHT, WIDTH), 30000, np.uint16)).save(folder / "9.png")


def test_images_at_fault_are_written_anew_as_training_reads_them(tmp_path):
    copy, changes = mended(tmp_path, image_faults)
    content = json.loads((copy / "annotations" / "instances_train.json").read_text())
    assert [image["id"] for image in content["images"]] == [3, 5, 9]
    assert {entry["image_id"] for entry in content["annotations"]} == {3, 5, 9}
    for image in content["images"]:
        with Image.open(copy / "train" / image["file_name"]) as written:
            assert (written.mode, written.size, dict(written.getexif())) == ("RGB", (WIDTH, HEIGHT), {})
            read = read_image(str(tmp_path / "set" / "train" / f"{image['id']}.png"))
            assert (np.asarray(written) == read).all()
    assert not (copy / "train" / "8.png").exists()
    assert {change.id for change in changes.changes} == {"3", "5", "8", "9", "104", "105"}


def test_labels_that_do_not_know_a_turn_keep_the_image_as_it_is_stored(tmp_path):
    def write(root):
        write_instances(root)
        turned(root / "train" / "3.png", Image.open(root / "train" / "3.png"))

    copy, _ = mended(tmp_path, write)
    with Image.open(tmp_path / "set" / "train" / "3.png") as stored, Image.open(copy / "train" / "3.png") as written:
        assert (np.asarray(stored) == np.asarray(written)).all()
        assert dict(written.getexif()) == {}


def test_good_images_are_links_and_sizes_are_those_of_the_files(tmp_path):
    copy, _ = mended(tmp_path, lambda root: write_instances(root, lambda c: c["images"][0].update(width=9, height=9)))
    assert (copy / "train" / "3.png").samefile(tmp_path / "set" / "train" / "3.png")
    first = json.loads((copy / "annotations" / "instances_train.json").read_text())["images"][0]
    assert (first["height"], first["width"]) == (HEIGHT, WIDTH)


def test_a_folder_that_exists_or_lies_in_the_set_is_refused(tmp_path):
    write_instances(tmp_path / "set")
    datasets = find_datasets(tmp_path / "set")
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="there exists: name a folder"):
        write_mended_copy(datasets, tmp_path / "there")
    with pytest.raises(ValueError, match="lies in the data set"):
        write_mended_copy(datasets, tmp_path / "set" / "copy")
    assert not (tmp_path / "set" / "copy").exists()


def test_what_cannot_be_mended_leaves_nothing_behind(tmp_path):
    write_instances(
        tmp_path / "set", lambda c: [entry.update(bbox=[90, 90, 4, 4], segmentation=[]) for entry in c["annotations"]]
    )
    with pytest.raises(ValueError, match=r"instances_train\.json cannot be mended: .* none"):
        write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    write_instances(tmp_path / "set")

    def full(changes, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Changes, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_sets_of_several_kinds_share_their_images(tmp_path):
    write_panoptic(tmp_path / "set", pixels=lambda ids: None)
    (tmp_path / "set" / "annotations" / "instances_train.json").write_text(json.dumps(instances()))
    write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy" / "train").iterdir()) == ["3.png", "5.png", "8.png", "9.png"]
    assert sorted(one.kind for one in find_datasets(tmp_path / "copy")) == ["instances", "panoptic"]
    assert faults_in(tmp_path / "copy") == []


def write_yolo(root: Path) -> None:
    """Two images of each part; a box of image a reaches beyond it, and b has one twice."""
    for part in ("train", "val"):
        (root / "images" / part).mkdir(parents=True)
        (root / "labels" / part).mkdir(parents=True)
        for name, rows in (("a", "0 0.9 0.5 0.4 0.2\n1 0.3 0.5 0.2 0.2\n"), ("b", 2 * "1 0.5 0.5 0.25 0.5\n")):
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images" / part / f"{name}.png")
            (root / "labels" / part / f"{name}.txt").write_text(rows)
    (root / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")


def test_the_copy_of_another_layout_is_in_that_of_coco(tmp_path):
    copy, changes = mended(tmp_path, write_yolo)
    (dataset,) = find_datasets(copy)
    assert (dataset.layout, dataset.classes.names, sorted(dataset.parts)) == ("coco", ["cat", "dog"], ["train", "val"])
    content = json.loads((copy / "annotations" / "instances_val.json").read_text())
    boxes = sorted(tuple(round(number, 3) for number in entry["bbox"]) for entry in content["annotations"])
    assert boxes == [(12, 16, 12, 8), (22.5, 10, 15, 20), (42, 16, 18, 8)]
    assert serious(faults_in(copy)) == []
    assert changes.changes


def test_what_a_text_id_of_a_segment_means_is_kept(tmp_path):
    def as_text(content):
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                segment["id"], segment["category_id"] = str(segment["id"]), str(segment["category_id"])

    copy, changes = mended(tmp_path, lambda root: write_panoptic(root, as_text))
    written = json.loads((copy / "annotations" / "panoptic_train.json").read_text())
    assert written["annotations"] == panoptic()["annotations"]
    assert changes.changes[0].id == "3/7"
    assert changes.changes[0].what == "id: '7' -> 7; category_id: '1' -> 1"


def test_lines_that_a_reader_leaves_out_are_changes(tmp_path):
    box = "0 0.5 0.5 0.2 0.2"
    texts = {"data.yaml": "names: [cat]", "labels/a.txt": f"{box}\n7 0.5 0.5 0.2 0.2", "labels/b.txt": box}
    write(tmp_path / "set", {**texts, "images/a.png": None, "images/b.png": None})
    changes = write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy").changes
    assert [(Path(change.file).name, change.id) for change in changes] == [("a.txt", "2"), ("a.png", "images/a.png")]
    assert "has the class 7" in changes[0].what
    assert "lacks some of its objects" in changes[1].what


LABELLED = ("yolo", "voc", "cvat", "labelme")
SPOILED = {  # in the labels of the first image: an object of no class, one in pixels, or the like
    "yolo": ("train/labels/train_0.txt", [("0 0.25", "7 0.25"), ("1 0.75", "1 30")]),
    "voc": ("train/images/train_0.xml", [("<xmin>5<", "<xmin>x<"), ("<xmin>21<", "<xmin>90<")]),
    "cvat": ("train.xml", [('xtl="4"', 'xtl="x"'), ('xtl="20"', "")]),
    "labelme": ("train/images/train_0.json", [("[[4, 0], [16, 20]]", "[[4, 0]]"), ("[[20, 0], [40, 20]]", "[]")]),
}


@pytest.mark.parametrize("layout", LABELLED)
def test_all_that_a_reader_leaves_out_is_listed_with_the_image_that_lost_it(tmp_path, layout):
    root = write_labelled(tmp_path / "set", layout)
    name, spoiled = SPOILED[layout]
    text = (root / name).read_text()
    for good, bad in spoiled:
        assert good in text
        text = text.replace(good, bad, 1)
    (root / name).write_text(text)
    (root / "train" / "images" / "train_3.png").write_bytes(b"no image")
    copy = tmp_path / "copy"
    changes = write_mended_copy(find_datasets(root), copy).changes
    assert len([change for change in changes if change.file == str(root / name)]) >= 2
    assert len([change for change in changes if "lacks all of its objects" in change.what]) == 1
    assert any("train_3.png" in change.file or "train_3.png" in change.id for change in changes)
    written = json.loads((copy / "annotations" / "instances_train.json").read_text())
    assert [image["id"] for image in written["images"]] == [1, 2, 3]
    assert sorted({entry["image_id"] for entry in written["annotations"]}) == [2, 3]


def test_every_one_of_many_images_that_are_left_out_is_listed(tmp_path):
    names = [f"{number}.png" for number in range(25)]
    write(tmp_path / "set", {**dict.fromkeys(names), "a.png": None, "a.xml": voc_xml("cat 1 1 9 9")})
    changes = write_mended_copy(find_datasets(tmp_path / "set"), tmp_path / "copy").changes
    assert {Path(change.id).name for change in changes} == set(names)

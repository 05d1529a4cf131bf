"""`python -m focalnet_d2.evaluation`: what it prints and writes, and how it says what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_codec

from focalnet_d2.commands.score import main
from tests.evaluation.panoptic_sets import sample_of, segment, write_panoptic_json


@pytest.fixture
def panoptic(tmp_path):
    """Paths of a ground truth whose area is wrong and of a prediction that is half right."""
    truth = [sample_of(tmp_path / "truth", 1, np.array([[1, 1, 2, 2]]), [segment(1, 0, area=3), segment(2, 2)])]
    found = [sample_of(tmp_path / "found", 1, np.array([[5, 5, 6, 6]]), [segment(5, 0), segment(6, 1)])]
    for name, samples in (("truth", truth), ("found", found)):
        write_panoptic_json(tmp_path / name, samples)
    return [str(tmp_path / name / "panoptic.json") for name in ("truth", "found")]


def test_panoptic_files(panoptic, tmp_path, capsys):
    output, counts = tmp_path / "new" / "results.json", tmp_path / "new" / "counts.json"
    assert main(["panoptic", *panoptic, "--output", str(output), "--counts", str(counts)]) == 0
    printed = capsys.readouterr().out
    assert "panoptic_seg " in printed
    assert "panoptic_seg_corrected " in printed
    results = json.loads(output.read_text())
    assert results["panoptic_seg"]["PQ-fox"] == pytest.approx(200 / 3)
    assert results["panoptic_seg_corrected"]["PQ-fox"] == 100
    assert json.loads(counts.read_text())["panoptic_seg"]["hen"] == {"iou": 0, "tp": 0, "fp": 1, "fn": 0}
    assert main(["panoptic", *panoptic, "--corrected", "--output", str(output)]) == 0
    assert json.loads(output.read_text()) == {"panoptic_seg": results["panoptic_seg_corrected"]}


def test_folders_may_lie_elsewhere(panoptic, tmp_path):
    for name in ("truth", "found"):
        (tmp_path / name / "panoptic").rename(tmp_path / f"{name}_pngs")
    assert main(["panoptic", *panoptic]) == 2
    folders = ["--truth-folder", str(tmp_path / "truth_pngs"), "--predictions-folder", str(tmp_path / "found_pngs")]
    assert main(["panoptic", *panoptic, *folders]) == 0


def edit(path, change):
    with open(path, "r+", encoding="utf-8") as file:
        content = json.load(file)
        change(content)
        file.seek(0)
        file.truncate()
        json.dump(content, file)


@pytest.mark.parametrize(
    ("which", "change", "message"),
    [
        (0, lambda content: content.pop("categories"), "panoptic.json has no categories"),
        (0, lambda content: content["categories"][0].pop("isthing"), "categories without isthing: 1 of 3"),
        (0, lambda content: content["images"][0].update(width=9), "has 4 x 1 pixels, its JSON says 9 x 1"),
        (0, lambda content: content["annotations"][0]["segments_info"].pop(), "1.png has the segment ids 2, which"),
        (1, lambda content: content.pop("annotations"), "panoptic.json has no annotations"),
        (1, lambda content: content["annotations"][0].pop("file_name"), "that of image 1 has no file_name"),
        (1, lambda content: content["annotations"].clear(), "found/panoptic.json: 1 images have no prediction"),
        (1, lambda content: content["annotations"][0].update(image_id=2), "no prediction, among them 1"),
        (1, lambda content: content["annotations"][0].update(image_id="1"), "(image_id) have text for ids ('1'), but"),
        (
            1,
            lambda content: content["annotations"][0].update(file_name="\ud800"),
            "image 1 has the file_name '\\ud800'",
        ),
        (1, lambda content: content["annotations"][0].update(file_name="a\0"), "image 1 has the file_name 'a\\x00'"),
        (0, lambda content: content["categories"][0].update(name=" "), "7 has the name ' '"),
        (1, lambda content: content["annotations"][0]["segments_info"].pop(), "1.png has segments that its list lacks"),
        (1, lambda content: content["annotations"][0].update(file_name="2.png"), "2.png does not exist"),
    ],
)
def test_files_that_cannot_be_scored(panoptic, capsys, which, change, message):
    edit(panoptic[which], change)
    assert main(["panoptic", *panoptic]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def first_segment(content):
    return content["annotations"][0]["segments_info"][0]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in ("id", "category_id") for value in (None, 1.5, True, "1", [], {}, float("inf"), 10**400)]
    + [("iscrowd", 2), ("iscrowd", "0"), ("iscrowd", []), ("area", 10**400), ("area", float("nan")), ("area", "4")],
)
def test_strange_segments_are_refused_in_truths_and_predictions(panoptic, capsys, which, key, value):
    edit(panoptic[which], lambda content: first_segment(content).update({key: value}))
    assert main(["panoptic", *panoptic]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(panoptic[which]) in captured.err or f"{panoptic[which].removesuffix('.json')}/1.png" in captured.err
    assert "category" in captured.err if key == "category_id" else key in captured.err


@pytest.mark.parametrize("key", ["id", "category_id"])
def test_segments_of_predictions_need_their_ids(panoptic, capsys, key):
    edit(panoptic[1], lambda content: first_segment(content).pop(key))
    assert main(["panoptic", *panoptic]) == 2
    assert f"{panoptic[1]}, image 1: " in capsys.readouterr().err


def with_text_ids(content):
    for category in content.get("categories", ()):
        category["id"] = f"0{category['id']}"
    for segment_info in content["annotations"][0]["segments_info"]:
        segment_info["category_id"] = f"0{segment_info['category_id']}"


def test_category_ids_of_text_are_compared_as_they_are(panoptic, tmp_path, capsys):
    outputs = [tmp_path / "numbers.json", tmp_path / "texts.json"]
    assert main(["panoptic", *panoptic, "--output", str(outputs[0])]) == 0
    edit(panoptic[0], with_text_ids)
    assert main(["panoptic", *panoptic]) == 2  # the predictions have numbers
    assert "has the unknown category 7" in capsys.readouterr().err
    edit(panoptic[1], with_text_ids)
    assert main(["panoptic", *panoptic, "--output", str(outputs[1])]) == 0
    assert outputs[0].read_text() == outputs[1].read_text()


def test_a_truth_is_read_once(panoptic, caplog):
    edit(panoptic[0], lambda content: first_segment(content).update(iscrowd=None))
    assert main(["panoptic", *panoptic]) == 0
    assert caplog.text.count("segments have iscrowd null") == 1


def test_text_that_is_no_json(panoptic, capsys):
    with open(panoptic[1], "w", encoding="utf-8") as file:
        file.write("{")
    assert main(["panoptic", *panoptic]) == 2
    assert "panoptic.json is not valid JSON" in capsys.readouterr().err


@pytest.fixture
def semantic(tmp_path):
    """Folders with a label file that is half right."""
    for name, labels in (("truth", [[0, 1, 255]]), ("found", [[0, 2, 2]])):
        (tmp_path / name).mkdir()
        Image.fromarray(np.array(labels, np.uint8)).save(tmp_path / name / "a.png")
    return [str(tmp_path / name) for name in ("truth", "found")]


def test_semantic_folders(semantic, tmp_path, capsys):
    output = tmp_path / "results.json"
    assert main(["semantic", *semantic, "--num-classes", "3", "--output", str(output)]) == 0
    results = json.loads(output.read_text())
    assert results["sem_seg"]["mIoU"] == results["sem_seg"]["IoU-0"] / 2 == 50
    assert results["sem_seg"]["IoU-2"] is None
    assert results["sem_seg_corrected"]["mIoU"] == pytest.approx(100 / 3)
    assert "sem_seg_corrected" in capsys.readouterr().out
    categories = tmp_path / "classes.json"
    categories.write_text(json.dumps({"categories": [{"name": name} for name in ("fox", "hen", "sky")]}))
    assert main(["semantic", *semantic, "--categories", str(categories), "--corrected", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["sem_seg"]["IoU-sky"] == 0


def test_semantic_folders_that_do_not_fit(semantic, tmp_path, capsys):
    assert main(["semantic", *semantic, "--num-classes", "2"]) == 2
    assert "a.png has the labels 2" in capsys.readouterr().err
    (tmp_path / "found" / "a.png").unlink()
    assert main(["semantic", *semantic, "--num-classes", "3"]) == 2
    assert "lacks predictions for 1 of 1 files, among them a.png" in capsys.readouterr().err
    (tmp_path / "truth" / "a.png").unlink()
    assert main(["semantic", *semantic, "--num-classes", "3"]) == 2
    assert "has no label files" in capsys.readouterr().err


CLASSES = [{"name": name} for name in ("fox", "hen", "sky")]


@pytest.mark.parametrize(
    "content",
    [None, 3, True, [], {}, *({"categories": value} for value in (None, 3, "fox", [], {}))]
    + [{"categories": [*CLASSES, entry]} for entry in (None, 0, "", [], {}, CLASSES[1])]
    + [{"categories": [*CLASSES, {"name": name}]} for name in (None, True, 1, [1], {}, "", " ")],
    ids=json.dumps,
)
def test_categories_that_do_not_name_every_class_are_refused(semantic, tmp_path, capsys, content):
    categories = tmp_path / "classes.json"
    categories.write_text(json.dumps(content))
    assert main(["semantic", *semantic, "--categories", str(categories)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(categories) in captured.err


def test_categories_that_are_no_json_are_named(semantic, tmp_path, capsys):
    (tmp_path / "classes.json").write_text("{")
    assert main(["semantic", *semantic, "--categories", str(tmp_path / "classes.json")]) == 2
    assert "classes.json is not valid JSON" in capsys.readouterr().err


def test_no_class_has_the_label_that_is_ignored(semantic, capsys):
    assert main(["semantic", *semantic, "--num-classes", "256"]) == 2
    error = capsys.readouterr().err
    assert "--num-classes" in error
    assert "--ignore-label is 255" in error
    assert main(["semantic", *semantic, "--num-classes", "256", "--ignore-label", "256"]) == 0
    assert main(["semantic", *semantic, "--num-classes", "255"]) == 0


def test_a_label_that_is_said_to_be_no_class_is_none(tmp_path, capsys):
    for folder, labels in (("truth", [[0, 1, 2, 2]]), ("found", [[1, 1, 2, 0]])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array(labels, np.uint8)).save(tmp_path / folder / "1.png")
    folders, out = [str(tmp_path / "truth"), str(tmp_path / "found")], tmp_path / "out.json"
    assert main(["semantic", *folders, "--num-classes", "3", "--ignore-label", "0", "--output", str(out)]) == 0
    results = json.loads(out.read_text())
    assert set(results) == {"sem_seg"}
    numbers = {name: value for name, value in results["sem_seg"].items() if "IoU" in name}
    assert numbers.pop("fwIoU") == pytest.approx((100 + 2 * 50) / 3)
    assert numbers == {"mIoU": 75, "IoU-1": 100, "IoU-2": 50}
    assert main(["semantic", *folders, "--num-classes", "1", "--ignore-label", "0"]) == 2
    assert "--num-classes without --ignore-label 0 gives 0 classes" in capsys.readouterr().err


def test_more_classes_than_memory_are_refused(semantic, capsys):
    assert main(["semantic", *semantic, "--num-classes", "1000000", "--ignore-label", "-1"]) == 2
    assert "--num-classes gives 1000000 classes; 1 to 4096 can be scored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "option"),
    [("semantic", "--num-classes"), ("semantic", "--workers"), ("panoptic", "--workers"), ("boxes", "--max-dets")],
)
@pytest.mark.parametrize("value", ["0", "-1", "1.5"])
def test_numbers_below_one_are_refused(kind, option, value, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([kind, "truth", "found", option, value])
    assert f"argument {option}" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--output", "--counts"])
@pytest.mark.parametrize("file", ["", "truth", "truth/panoptic.json/new.json"])
def test_places_where_nothing_can_be_written_are_refused_before_scoring(panoptic, tmp_path, capsys, option, file):
    with pytest.raises(SystemExit, match="2"):
        main(["panoptic", *panoptic, option, str(tmp_path / file)])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"argument {option}: {tmp_path / file} " in captured.err


def test_no_file_is_overwritten_that_is_read_or_written_as_well(panoptic, tmp_path, capsys):
    before = [Path(path).read_bytes() for path in panoptic]
    for path in panoptic:
        for option in ("--output", "--counts"):
            assert main(["panoptic", *panoptic, option, path]) == 2
            assert f"{option} {path} is the file of" in capsys.readouterr().err
    both = str(tmp_path / "new.json")
    assert main(["panoptic", *panoptic, "--output", both, "--counts", both]) == 2
    assert [Path(path).read_bytes() for path in panoptic] == before


def test_boxes(tmp_path, capsys):
    truth = {
        "images": [{"id": 1, "height": 50, "width": 50}],
        "categories": [{"id": 7, "name": "fox"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [5, 5, 20, 20], "area": 400, "iscrowd": 0}],
    }
    found = [{"image_id": 1, "category_id": 7, "bbox": [5, 5, 20, 20], "score": 0.9}]
    for name, content in (("truth.json", truth), ("found.json", found)):
        (tmp_path / name).write_text(json.dumps(content))
    files = [str(tmp_path / name) for name in ("truth.json", "found.json")]
    assert main(["boxes", *files, "--output", str(tmp_path / "results.json")]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["bbox"]["AP"] == pytest.approx(100)
    assert "bbox" in capsys.readouterr().out
    assert main(["boxes", *files, "--iou-type", "segm"]) == 2
    assert main(["boxes", *files, "--backend", "none"]) == 2
    with pytest.raises(SystemExit, match="2"):
        main(["boxes", *files, "--max-dets", "0"])
    assert "none" in capsys.readouterr().err


def test_boxes_and_masks_of_one_reading(tmp_path, caplog):
    square = {"size": [50, 50], "counts": [255, 20, *[30, 20] * 19, 1275]}
    truth = {
        "images": [{"id": 1, "height": 50, "width": 50}],
        "categories": [{"id": 7, "name": "fox"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [5, 5, 20, 20], "segmentation": square}],
    }
    encoded = mask_codec.frPyObjects(square, 50, 50)
    mask = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    found = [
        {"image_id": 1, "category_id": c, "bbox": [5, 5, 20, 20], "score": 0.9, "segmentation": mask} for c in (7, 8)
    ]
    for name, content in (("truth.json", truth), ("found.json", found)):
        (tmp_path / name).write_text(json.dumps(content))
    files = [str(tmp_path / name) for name in ("truth.json", "found.json")]
    assert main(["boxes", *files, "--iou-type", "bbox", "segm", "--output", str(tmp_path / "results.json")]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert [results[task]["AP"] for task in ("bbox", "segm")] == [pytest.approx(100)] * 2
    lines = [record.getMessage() for record in caplog.records]
    assert len([line for line in lines if line.startswith(f"{files[0]} (1 annotations)")]) == 1
    assert len([line for line in lines if line.startswith(files[1]) and "(category_id 8)" in line]) == 1

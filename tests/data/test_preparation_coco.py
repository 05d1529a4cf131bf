"""Preparation of COCO's semantic labels on one image written by hand."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.panoptic_png import write_panoptic_ids
from focalnet_d2.data.preparation import coco, prepare_coco_semantic
from tests.data.coco_folder import IDS, write_coco

TOOL = Path(__file__).resolve().parents[2] / "tools" / "prepare_coco_semantic.py"
NAME = "000000000008.png"


@pytest.fixture
def folder(tmp_path):
    return write_coco(tmp_path)


def prepare(folder, **options):
    prepare_coco_semantic(folder.parent, splits=["val"], **options)


def json_file(folder):
    return folder / "annotations" / "panoptic_val2017.json"


def test_classes_are_positions_in_the_list_of_133(folder):
    prepare(folder)
    image = Image.open(folder / "panoptic_semseg_val2017" / NAME)
    assert image.mode == "L"
    assert np.array(image).tolist() == [[0, 0, 255, 132], [0, 79, 79, 132]]


def test_command_line_leaves_finished_files_alone(folder, capsys):
    write_coco(folder.parent, "train")
    for _ in range(2):
        assert runpy.run_path(str(TOOL))["main"](["--root", str(folder.parent), "--workers", "2"]) == 0
        made = [folder / f"panoptic_semseg_{split}2017" / NAME for split in ("train", "val")]
        times = [path.stat().st_mtime_ns for path in made]
    assert [path.stat().st_mtime_ns for path in made] == times
    shutil.rmtree(folder / "panoptic_val2017")
    assert runpy.run_path(str(TOOL))["main"](["--root", str(folder.parent), "--splits", "val"]) == 2
    assert "panoptic_val2017 does not exist" in capsys.readouterr().err


def test_folder_appears_when_it_is_complete(folder, monkeypatch):
    write_coco(folder.parent, copies=3)
    target, calls = folder / "panoptic_semseg_val2017", []

    def write_two(path, pixels, write=coco.write_png):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path.name)
        write(path, pixels)

    monkeypatch.setattr(coco, "write_png", write_two)
    with pytest.raises(KeyboardInterrupt):
        prepare(folder)
    assert not target.exists()
    first = folder / "panoptic_semseg_val2017.unfinished" / NAME
    first.write_bytes(first.read_bytes()[:-1])
    calls.clear()
    prepare(folder)
    assert calls == [NAME, "000000000010.png"]  # the one that was cut off and the one that was not begun
    assert len(list(target.iterdir())) == 3
    assert not first.parent.exists()


def test_cut_off_file_in_a_finished_folder_is_made_again(folder):
    write_coco(folder.parent, copies=2)
    prepare(folder)
    path = folder / "panoptic_semseg_val2017" / NAME
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    prepare(folder)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: write_panoptic_ids(IDS[:, :3], path), "3x2 8-bit RGB PNG, but its image has 4x2"),
        (lambda path: write_panoptic_ids(IDS + (IDS == 0), path), "has the segment ids 1, which segments_info"),
        (lambda path: Image.new("L", (4, 2)).save(path), "4x2 8-bit grey PNG; it must be 8-bit RGB"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "damaged"),
        (lambda path: path.write_bytes(b"GIF89a"), "damaged"),
    ],
)
def test_bad_panoptic_file_is_named(folder, write, message):
    write(folder / "panoptic_val2017" / NAME)
    with pytest.raises(ValueError, match=f"panoptic_val2017/{NAME} .*{message}"):
        prepare(folder)
    assert not (folder / "panoptic_semseg_val2017").exists()


def test_missing_input_is_named_before_anything_is_written(folder):
    (folder / "panoptic_val2017" / NAME).unlink()
    with pytest.raises(FileNotFoundError, match=f"panoptic_val2017 lacks 1 of the 1 files of its JSON, {NAME}"):
        prepare(folder)
    json_file(folder).unlink()
    with pytest.raises(FileNotFoundError, match=r"panoptic_val2017\.json does not exist"):
        prepare(folder)
    write_coco(folder.parent)
    with pytest.raises(FileNotFoundError, match=r"panoptic_train2017\.json does not exist"):
        prepare_coco_semantic(folder.parent)
    assert not list(folder.glob("panoptic_semseg_*"))


def test_json_that_is_cut_off_or_of_another_data_set_is_named(folder):
    content = json_file(folder).read_text()
    json_file(folder).write_text(content[:-9])
    with pytest.raises(ValueError, match=r"panoptic_val2017\.json is not valid JSON"):
        prepare(folder)
    json_file(folder).write_text(json.dumps({"images": []}))
    with pytest.raises(ValueError, match=r"panoptic_val2017\.json has no categories and no annotations"):
        prepare(folder)
    json_file(folder).write_text(content.replace('"category_id": 200', '"category_id": 12'))
    with pytest.raises(ValueError, match=r"panoptic_val2017\.json.*unknown category id 12"):
        prepare(folder)


def test_categories_of_another_data_set_are_named(folder):
    content = json.loads(json_file(folder).read_text())
    content["categories"][0]["id"] = 12
    content["annotations"][0]["segments_info"].pop(0)
    json_file(folder).write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"panoptic_val2017\.json is no panoptic file of COCO 2017: .* categories 12, which"
    ):
        prepare(folder)

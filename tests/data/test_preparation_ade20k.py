"""Preparation of ADE20K on two images written by hand: exact pixels, restarts, and input that cannot be used."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as mask_codec

from focalnet_d2.data.panoptic_labels import read_panoptic_ids
from focalnet_d2.data.preparation import ade20k, prepare_ade20k
from tests.data.ade20k_folder import (
    BED,
    BUILDING,
    CABINET,
    INSTANCE_CLASSES,
    INSTANCES,
    LABELS,
    WALL,
    write_ade20k,
    write_image,
)

TOOL = Path(__file__).resolve().parents[2] / "tools" / "prepare_ade20k.py"
PANOPTIC = "ade20k_panoptic_train"
BED_ID, CABINET_ID = BED + 1 + 256 * 1, CABINET + 1 + 256 * 5
IDS = np.array(
    [
        [CABINET_ID, 1, 1, CABINET_ID, CABINET_ID, 0],
        [1, 1, 1, CABINET_ID, CABINET_ID, 0],
        [1, BED_ID, BED_ID, CABINET_ID, CABINET_ID, CABINET_ID],
        [1, BED_ID, BED_ID, 0, CABINET_ID, CABINET_ID],
    ]
)


def segment(segment_id, category, area, bbox):
    return {"id": segment_id, "category_id": category, "iscrowd": 0, "area": area, "bbox": bbox}


BED_SEGMENT = segment(BED_ID, BED, 4, [1, 2, 2, 2])
CABINET_SEGMENT = segment(CABINET_ID, CABINET, 10, [0, 0, 6, 4])


@pytest.fixture
def folder(tmp_path):
    return write_ade20k(tmp_path)


def prepare(folder, **options):
    prepare_ade20k(folder.parent, splits=["train"], **options)


def run_tool(*arguments):
    return runpy.run_path(str(TOOL))["main"](list(map(str, arguments)))


def load(folder, task):
    return json.loads((folder / f"ade20k_{task}_train.json").read_text())


def made(folder):
    """Content of every file that was made, under its name."""
    patterns = ("ade20k_*", "ade20k_*/*", "annotations_detectron2/**/*")
    paths = [path for pattern in patterns for path in folder.glob(pattern) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_semantic_classes_start_at_0_and_unlabeled_is_255(folder):
    prepare(folder, tasks=["semantic"])
    image = Image.open(folder / "annotations_detectron2" / "training" / "a.png")
    assert image.mode == "L"
    assert np.array(image).tolist() == [
        [0, 0, 0, 1, 1, 255],
        [0, 0, 0, 1, 1, 255],
        [0, 7, 7, 1, 1, 1],
        [0, 7, 7, 7, 1, 1],
    ]
    assert {name.split("/")[0] for name in made(folder)} == {"annotations_detectron2"}


def test_things_cover_stuff_and_a_thing_without_instance_is_void(folder):
    prepare(folder)
    assert read_panoptic_ids(folder / PANOPTIC / "a.png").tolist() == IDS.tolist()


def test_segments_describe_the_final_pixels(folder):
    prepare(folder)
    first, second = load(folder, "panoptic")["annotations"]
    wall = segment(1, WALL, 7, [0, 0, 3, 4])
    assert first == {"image_id": "a", "file_name": "a.png", "segments_info": [wall, BED_SEGMENT, CABINET_SEGMENT]}
    assert second["segments_info"] == [segment(1, WALL, 8, [0, 0, 3, 4])]


def test_published_areas_are_those_before_things_cover_the_stuff(folder):
    prepare(folder, published_areas=True)
    wall, building = segment(1, WALL, 8, [0, 0, 3, 4]), segment(2, BUILDING, 9, [3, 0, 3, 4])
    assert load(folder, "panoptic")["annotations"][0]["segments_info"] == [
        wall,
        building,
        BED_SEGMENT,
        CABINET_SEGMENT,
    ]
    assert read_panoptic_ids(folder / PANOPTIC / "a.png").tolist() == IDS.tolist()


def test_the_other_rule_of_areas_makes_the_panoptic_file_again(folder):
    prepare(folder, published_areas=True)
    published = made(folder)
    prepare(folder)
    visible = made(folder)
    assert [name for name in visible if visible[name] != published[name]] == [f"{PANOPTIC}.json"]
    assert load(folder, "panoptic")["annotations"][0]["segments_info"][0]["area"] == 7


def test_images_and_categories_of_the_panoptic_file(folder):
    prepare(folder)
    content = load(folder, "panoptic")
    assert content["images"] == [
        {"id": "a", "file_name": "a.jpg", "height": 4, "width": 6},
        {"id": "b", "file_name": "b.jpg", "height": 4, "width": 3},
    ]
    assert [category["id"] for category in content["categories"]] == list(range(150))
    assert content["categories"][WALL] == {"id": WALL, "name": "wall", "isthing": 0}
    assert content["categories"][BED] == {"id": BED, "name": "bed", "isthing": 1}


def test_instance_file(folder):
    prepare(folder)
    content = load(folder, "instance")
    masks = [mask_codec.decode(annotation.pop("segmentation")) for annotation in content["annotations"]]
    assert content["annotations"] == [
        {"id": 1, "image_id": "a", "category_id": BED, "iscrowd": 0, "area": 4, "bbox": [1, 2, 2, 2]},
        {"id": 2, "image_id": "a", "category_id": CABINET, "iscrowd": 0, "area": 10, "bbox": [0, 0, 6, 4]},
    ]
    for mask, number in zip(masks, (1, 5), strict=True):
        np.testing.assert_array_equal(mask, number == INSTANCES)
    assert [image["id"] for image in content["images"]] == ["a", "b"]
    assert len(content["categories"]) == 100
    assert content["categories"][:2] == [{"id": 7, "name": "bed"}, {"id": 8, "name": "window "}]


def test_palette_labels_are_read_as_their_indices(folder):
    image = Image.fromarray(LABELS)
    image.putpalette([7] * 768)
    image.save(folder / "annotations" / "training" / "a.png")
    prepare(folder)
    assert read_panoptic_ids(folder / PANOPTIC / "a.png").tolist() == IDS.tolist()


def test_workers_change_nothing(folder, tmp_path):
    for index in range(7):
        write_image(tmp_path, f"more{index}", LABELS[:, index % 3 :], INSTANCES[:, index % 3 :], INSTANCE_CLASSES)
    copy = shutil.copytree(folder, tmp_path / "copy" / folder.name)
    prepare(folder, workers=1)
    prepare(copy, workers=2)
    assert made(folder) == made(copy)
    assert len(made(folder)) == 9 + 9 + 2


def stop_after(monkeypatch, name, count):
    """Makes a function of the preparation behave as if the run was interrupted when it is called again."""
    original, calls = getattr(ade20k, name), []

    def stopping(*arguments):
        if len(calls) == count:
            raise KeyboardInterrupt
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(ade20k, name, stopping)
    return calls


@pytest.mark.parametrize("name", ["write_png", "write_panoptic_ids", "compressed_rle"])
def test_interrupted_run_leaves_nothing_that_looks_finished_and_continues(folder, tmp_path, monkeypatch, name):
    write_image(tmp_path, "c", LABELS, INSTANCES, INSTANCE_CLASSES)
    whole = shutil.copytree(folder, tmp_path / "whole" / folder.name)
    prepare(whole)
    target = {
        "write_png": "annotations_detectron2/training",
        "write_panoptic_ids": f"{PANOPTIC}.json",
        "compressed_rle": "ade20k_instance_train.json",
    }[name]
    with monkeypatch.context() as patch:
        stop_after(patch, name, 2)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder)
    assert not (folder / target).exists()
    calls = stop_after(monkeypatch, name, 3)
    prepare(folder)
    assert len(calls) == (2 if name == "compressed_rle" else 1)  # the instances of the last image, or its file
    assert made(folder) == made(whole)


def test_damaged_file_of_an_interrupted_run_is_made_again(folder, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, "write_panoptic_ids", 1)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, tasks=["panoptic"])
    png = folder / PANOPTIC / "a.png"
    content = png.read_bytes()
    png.write_bytes(content[:-10])
    (folder / PANOPTIC / ".a.png.77.unfinished").write_bytes(b"")
    prepare(folder, tasks=["panoptic"])
    assert png.read_bytes() == content
    assert sorted(path.name for path in (folder / PANOPTIC).iterdir()) == ["a.png", "b.png"]


def test_finished_files_are_left_alone(folder, caplog):
    prepare(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    caplog.set_level("INFO")
    caplog.clear()  # another test may have lowered the level before
    prepare(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
    assert [record.message.count("nothing to do") for record in caplog.records] == [1, 1, 1]


def test_missing_png_or_new_image_makes_the_set_again(folder, tmp_path):
    prepare(folder)
    (folder / PANOPTIC / "b.png").unlink()
    prepare(folder)
    assert (folder / PANOPTIC / "b.png").is_file()
    write_image(tmp_path, "c", LABELS, INSTANCES, INSTANCE_CLASSES)
    prepare(folder)
    assert [image["id"] for image in load(folder, "instance")["images"]] == ["a", "b", "c"]
    assert (folder / "annotations_detectron2" / "training" / "c.png").is_file()


def test_files_of_another_tool_stay_or_are_refused(folder, tmp_path):
    prepare(folder)
    path = folder / f"{PANOPTIC}.json"
    content = json.loads(path.read_text())
    del content["info"]
    path.write_text(json.dumps(content))
    before = made(folder)
    prepare(folder)
    assert made(folder) == before
    write_image(tmp_path, "c", LABELS, INSTANCES, INSTANCE_CLASSES)
    with pytest.raises(ValueError, match=f"{PANOPTIC}.json was made by another tool .* remove it and the folder"):
        prepare(folder)
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=f"{PANOPTIC}.json is damaged"):
        prepare(folder)


def replace(folder, kind, pixels):
    Image.fromarray(pixels).save(folder / kind / "training" / "a.png")


def two_classes(instances):
    classes = (instances == 1) + 3 * (instances == 5)
    classes[0, 0] = 4
    return classes


def coloured(classes, numbers=INSTANCES):
    return np.stack([classes, numbers, np.zeros_like(numbers)], -1).astype(np.uint8)


BAD_INPUT = {
    "16-bit labels": ("annotations", LABELS.astype(np.uint16), "6x4 16-bit grey PNG"),
    "colour labels": ("annotations", np.stack([LABELS] * 3, -1), "6x4 8-bit RGB PNG"),
    "class 151": ("annotations", np.full_like(LABELS, 151), "has the value 151"),
    "size of labels": ("annotations", LABELS[:, :5], "5x4 8-bit grey PNG, but its image has 6x4"),
    "size of instances": ("annotations_instance", coloured(INSTANCES)[:3], "6x3 8-bit RGB PNG, but its image has 6x4"),
    "grey instances": ("annotations_instance", INSTANCES, "6x4 8-bit grey PNG; it must be 8-bit RGB"),
    "class 101": ("annotations_instance", coloured(INSTANCES * 0 + 101), "instance 1 .* the class 101 .* 1 to 100"),
    "class 0": ("annotations_instance", coloured(INSTANCES * 0), "instance 1 .* the class 0 "),
    "two classes": ("annotations_instance", coloured(two_classes(INSTANCES)), "instance 5 .* several classes"),
}


@pytest.mark.parametrize(("case", "workers"), [*((case, 1) for case in BAD_INPUT), ("class 151", 2)])
def test_bad_input_names_the_file_and_leaves_nothing_half_made(folder, case, workers):
    kind, pixels, message = BAD_INPUT[case]
    replace(folder, kind, pixels)
    with pytest.raises(ValueError, match=f"{kind}/training/a.png .*{message}"):
        prepare(folder, workers=workers, tasks=["panoptic"])
    assert not (folder / f"{PANOPTIC}.json").exists()
    assert not [path for path in folder.rglob("*.unfinished") if path.is_file()]
    write_ade20k(folder.parent)
    prepare(folder, tasks=["panoptic"])
    assert read_panoptic_ids(folder / PANOPTIC / "a.png").tolist() == IDS.tolist()


@pytest.mark.parametrize("kind", ["images", "annotations", "annotations_instance"])
def test_cut_off_or_foreign_file_is_named(folder, kind):
    (path,) = (folder / kind / "training").glob("a.*")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=f"{kind}/training/{path.name} .*damaged"):
        prepare(folder, tasks=["panoptic"])
    path.write_bytes(b"no image at all")
    with pytest.raises(ValueError, match=f"{kind}/training/{path.name} .*damaged"):
        prepare(folder, tasks=["panoptic"])


def test_missing_input_is_named_before_anything_is_written(folder):
    (folder / "annotations_instance" / "training" / "b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"annotations_instance/training lacks 1 of the 2 .*, b.png for one"):
        prepare(folder)
    shutil.rmtree(folder / "annotations_instance")
    with pytest.raises(FileNotFoundError, match="annotations_instance/training does not exist: .* leave the tasks"):
        prepare(folder)
    assert made(folder) == {}
    with pytest.raises(FileNotFoundError, match="images/validation does not exist"):
        prepare_ade20k(folder.parent, tasks=["semantic"])
    assert made(folder) == {}
    prepare(folder, tasks=["semantic"])
    for path in [*folder.glob("images/*/*"), *folder.glob("annotations/*/*")]:
        path.unlink()
    with pytest.raises(FileNotFoundError, match="images/training holds no images"):
        prepare(folder, tasks=["semantic"])


def test_command_line(folder, capsys):
    arguments = ["--root", folder.parent, "--splits", "train", "--workers"]
    assert run_tool(*arguments, 1, "--published-areas") == 0
    assert load(folder, "panoptic")["info"]["published_areas"] is True
    assert run_tool("--root", folder, "--workers", 1) == 2
    assert capsys.readouterr().err.startswith("error: The folder ")
    with pytest.raises(SystemExit):
        run_tool(*arguments, 0)


def test_interrupted_command_says_how_to_continue(folder, capsys, monkeypatch):
    stop_after(monkeypatch, "write_png", 1)
    assert run_tool("--root", folder.parent, "--splits", "train", "--workers", 1) == 130
    assert "The same command continues" in capsys.readouterr().err


@given(arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 1, 3, 700])))
def test_measured_areas_fill_the_map_and_boxes_are_tight(labels):
    regions = ade20k.measure(labels)
    assert sorted(regions) == sorted(set(labels.ravel().tolist()) - {0})
    assert sum(region["area"] for region in regions.values()) == np.count_nonzero(labels)
    for number, region in regions.items():
        left, top, width, height = region["bbox"]
        inside = labels[top : top + height, left : left + width] == number
        assert inside.sum() == region["area"]
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))

"""A folder as a whole: planted faults are found with file and id, a sound one reports none, memory stays as it is."""

import multiprocessing
import os
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from focalnet_d2.data.checks import run
from focalnet_d2.data.checks.images import LookedAt
from focalnet_d2.data.checks.run import check_datasets, look_at_chunk
from focalnet_d2.data.checks.tasks import LabelFindings, LabelTask, RecipeLimits
from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.folders.dataset import FolderDataset, Part
from focalnet_d2.data.folders.finding import find_datasets
from tests.data.checks.planted_images import PLANTED, file_of, json_of, scene, write_folder


class Progress:
    """Keeps what it is told."""

    def __init__(self):
        self.begun, self.images = [], 0

    def begin(self, what, images):
        self.begun.append((what, images))

    def advance(self, images):
        self.images += images


def check(root, workers=1, progress=None):
    progress = progress or Progress()
    return check_datasets(str(root), find_datasets(root), limits=RecipeLimits(), workers=workers, progress=progress)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sound_folder_reports_nothing(tmp_path, workers):
    progress = Progress()
    findings = check(write_folder(tmp_path / "data"), workers, progress)
    assert findings.faults == []
    assert findings.is_clean
    (reading,) = findings.readings
    assert {name: numbers.images for name, numbers in reading.parts.items()} == {"train": 4, "val": 2}
    assert reading.parts["train"].of_classes(reading.dataset.classes) == {"cat": 4, "dog": 4}
    assert reading.parts["train"].objects == {2: 4}
    assert progress.begun == [("coco, train", 4), ("coco, val", 2)]
    assert progress.images == 6
    assert sorted(task.image_id for _, task in reading.samples) == [11, 12, 13, 14, 21, 22]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_found(tmp_path, planted):
    root = write_folder(tmp_path / "data")
    row = PLANTED[planted]
    row.plant(root)
    findings = check(root)
    found = [fault for fault in findings.faults if fault.kind == row.kind]
    assert [(fault.severity, fault.file, fault.ids[0]) for fault in found] == [
        (row.severity, str(root / row.file), row.image_id)
    ]
    others = {fault.kind for fault in findings.faults if fault.severity != "note"} - {row.kind}
    assert others == set()
    assert findings.is_clean == (row.severity == "note")


def test_processes_find_what_one_finds(tmp_path):
    root = write_folder(tmp_path / "data")
    for planted in ("missing size", "alpha", "leak"):
        PLANTED[planted].plant(root)
    alone, together = check(root, 1), check(root, 2)
    assert alone.to_plain() == together.to_plain()
    assert len(alone.faults) >= 3


def test_a_crash_on_an_image_is_a_fault_of_that_image(monkeypatch):
    def labels(task):
        if task.image_id == 1:
            raise RuntimeError("no luck")
        return LabelFindings()

    monkeypatch.setattr(run, "look_at_image", lambda *arguments: LookedAt([], scene(0), "color"))
    monkeypatch.setattr(run, "check_image_labels", labels)
    looked = look_at_chunk([LabelTask("instances", "x.json", key, f"{key}.png") for key in range(3)])
    assert [(fault.kind, fault.file, fault.ids) for fault in looked.faults] == [("check-crashed", "1.png", ("1",))]
    assert "RuntimeError: no luck" in looked.faults[0].message
    assert len(looked.fingerprints) == 3


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="what is patched here travels by forking only")
def test_a_process_that_dies_is_a_fault_of_the_image(tmp_path, monkeypatch):
    def look(file_name, said):
        if said.image_id == "13":
            os._exit(1)
        return LookedAt([], scene(int(said.image_id)), "color")

    root = write_folder(tmp_path / "data")
    monkeypatch.setattr(run, "look_at_image", look)
    findings = check(root, 2)
    assert [(fault.kind, fault.file) for fault in findings.faults] == [
        ("check-crashed", str(file_of(root, "train", 13)))
    ]


def test_annotations_that_cannot_be_used_do_not_hide_the_other_part(tmp_path):
    root = write_folder(tmp_path / "data")
    found = find_datasets(root)
    (root / "annotations" / "instances_train.json").write_text("{")
    file_of(root, "val", 21).unlink()
    findings = check_datasets(str(root), found, limits=RecipeLimits(), workers=1, progress=Progress())
    assert [fault.file for fault in findings.faults] == [str(json_of(root, "train")), str(file_of(root, "val", 21))]


class Stub:
    """A part of as many images as one likes, each made when it is asked for."""

    def __init__(self, number):
        self.images = range(number)


def peak(monkeypatch, number):
    """Bytes that this process takes at most for a check of many images with many labels."""

    def tasks(dataset, part, content, limits):
        for key in content.images:
            labels = [{"category_id": 1, "bbox": [0, 0, 5, 5], "segmentation": list(range(key, key + 99))}]
            yield LabelTask("instances", "x.json", key, f"{key:040d}.png", {"width": 8, "height": 8}, labels)

    def look(file_name, said):
        pixels = np.random.default_rng(int(said.image_id)).integers(0, 256, (8, 9, 3), dtype=np.uint8)
        return LookedAt([], Image.fromarray(pixels), "color")

    monkeypatch.setattr(run, "read_for_checks", lambda *arguments: Stub(number))
    monkeypatch.setattr(run, "tasks_of", tasks)
    monkeypatch.setattr(run, "check_file", lambda *arguments: [])
    monkeypatch.setattr(run, "look_at_image", look)
    monkeypatch.setattr(run, "check_image_labels", lambda task: LabelFindings())
    dataset = FolderDataset("x", "stub", "instances", {"train": Part("x", "x.json")}, class_map([1], ["cat"]))
    tracemalloc.start()
    findings = check_datasets("x", [dataset], limits=RecipeLimits(), workers=1, progress=Progress())
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert findings.readings[0].parts["train"].images == number
    return used


def test_memory_does_not_grow_with_the_images(monkeypatch):
    """16 bytes an image are kept, and some 100 for the moment in which they are compared; its labels have 4000."""
    peak(monkeypatch, 20)
    few, many = peak(monkeypatch, 300), peak(monkeypatch, 1800)
    assert (many - few) / 1500 < 250

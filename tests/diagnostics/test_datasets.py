"""Checks of the data sets: the folder that is absent, and data sets that are whole, incomplete or absent."""

from focalnet_d2.diagnostics import datasets
from focalnet_d2.diagnostics.check import FALLBACK, OK, Check


def test_folder_of_data_sets_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    (check,) = datasets.check_datasets()
    assert check.status == FALLBACK
    assert "nowhere" in check.detail


def test_data_sets_on_disk_absent_and_incomplete(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "boxes.json").touch()
    there, boxes, absent = tmp_path / "images", tmp_path / "boxes.json", tmp_path / "typo"
    catalog = {"whole": [there, boxes], "no_images": [absent, boxes], "nothing": [absent, absent], "unknown": []}
    check = datasets.data_on_disk(catalog, "a fix")
    assert check == Check("data sets", OK, "1 of 4 registered ones: whole")
    (incomplete,) = datasets.incomplete_datasets(catalog)
    assert incomplete.name == "no_images"
    assert str(absent) in incomplete.fix
    assert datasets.data_on_disk({"nothing": [absent]}, "a fix").fix == "a fix"

"""The benchmark of data loading, on a few small images."""

import sys

import pytest

TINY = ("--images", "3", "--size", "48", "64", "--rounds", "1")


@pytest.mark.parametrize("word", ["LSJ-1024 instance", "panoptic", "ADE-512 semantic"])
def test_mappers_give_the_same_samples(run_benchmark, word):
    for row in run_benchmark("data_loading", *TINY, "--only", word)["rows"]:
        assert word in row["case"]
        if row["forms"]:
            assert row["forms"]["library"]["difference"] == 0
            assert row["forms"]["library"]["ms_per_image"].keys() == {"read", "augment", "targets"}


def test_rows_of_detection_and_its_loader(run_benchmark):
    mapper, loader = run_benchmark("data_loading", *TINY, "--only", "boxes")["rows"]
    assert mapper["forms"]["library"]["difference"] == 0
    assert mapper["cores_per_gpu"].keys() == {"H", "L", "T"}
    assert loader["ms_per_image"].keys() == {"worker", "training process"}


@pytest.mark.skipif(sys.platform != "linux", reason="memory by process is read from /proc")
def test_row_of_memory(run_benchmark):
    (row,) = run_benchmark("data_loading", *TINY, "--records", "20000", "--only", "memory, fork")["rows"]
    assert row["forms"]["library"]["bytes"] < row["forms"]["plain"]["bytes"]

"""The benchmark of kept memory runs each form in a process of its own."""

import platform

import pytest


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_smoke_run(run_benchmark):
    arguments = ("--recipes", "dino_focalnet_mini_demo", "--size", "96", "128", "--rounds", "1")
    rows = run_benchmark("cpu_memory", *arguments)["rows"]
    assert [row["case"].split()[1] for row in rows] == ["inference", "forward"]
    for row in rows:
        assert list(row["forms"]) == ["returns", "keeps"]
        assert all(form["seconds"] > 0 and form["peak_bytes"] > 0 for form in row["forms"].values())

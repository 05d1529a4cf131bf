"""The benchmark of the backbone runs, and finds the library's results equal to those of its plain form."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "backbone.py"


@pytest.fixture
def restored_threads():
    """The benchmark takes one thread."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("restored_threads")
def test_smoke_run(tmp_path, monkeypatch):
    output = tmp_path / "new" / "results.json"
    arguments = ["--networks", "tiny_lrf", "--sizes", "64x96", "--rounds", "1", "--json", str(output)]
    monkeypatch.setattr(sys, "argv", ["backbone.py", *arguments])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    result = json.loads(output.read_text())
    assert result["machine"]["threads"] == 1
    assert min(result["gflops"].values()) > 0
    assert [row["pass"] for row in result["rows"]] == ["forward", "forward + backward"]
    assert all(row["difference"] < 1e-4 and row["ratio"] > 0 for row in result["rows"])

"""The benchmark of Mask2Former runs, and finds the library's results equal to those of its plain form."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "mask2former_model.py"


@pytest.fixture
def run(monkeypatch):
    """Runs the benchmark of a small recipe with more arguments."""
    threads = torch.get_num_threads()
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [BENCHMARK.name, "--recipe", "mask2former_focalnet_mini_demo", *arguments])
        runpy.run_path(str(BENCHMARK), run_name="__main__")

    yield run
    torch.set_num_threads(threads)


def test_smoke_run(run, tmp_path):
    output = tmp_path / "results.json"
    run("--rows", "inference", "training step", "--sizes", "64x96", "--precisions", "float32", "--json", str(output))
    inference, step = json.loads(output.read_text())["rows"]
    assert inference["forms"]["library"]["difference"] < 1e-4
    assert step["forms"]["library"]["difference"] < 1e-3  # of losses and gradients
    assert min(row["gflop"] for row in (inference, step)) > 0


@pytest.mark.parametrize("form", [["plain"], ["library", "bfloat16"]])
def test_peak_of_this_process(run, capsys, form):
    run("--memory-size", "64x96", "--peak", *form)
    assert json.loads(capsys.readouterr().out)["bytes"] > 0

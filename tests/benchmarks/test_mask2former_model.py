"""The benchmark of Mask2Former runs, and finds the library's results equal to those of its plain form."""

import json
from importlib import import_module

import pytest

RECIPE = "mask2former_focalnet_mini_demo"


def test_smoke_run(run_benchmark):
    arguments = ["--rows", "inference", "training step", "--sizes", "64x96", "--precisions", "float32", "--rounds", "1"]
    inference, step = run_benchmark("mask2former_model", "--recipe", RECIPE, *arguments)["rows"]
    assert inference["forms"]["library"]["difference"] < 1e-4
    assert step["forms"]["library"]["difference"] < 1e-3  # of losses and gradients
    assert min(row["gflop"] for row in (inference, step)) > 0


@pytest.mark.usefixtures("run_benchmark")  # the folder is on the path
@pytest.mark.parametrize("form", ["plain", "library"])
def test_peak_of_a_process(capsys, form):
    import_module("mask2former_model").print_peak(form, "bfloat16", (64, 96), RECIPE)
    assert json.loads(capsys.readouterr().out)["bytes"] > 0

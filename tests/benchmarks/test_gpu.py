"""The checks and times for a card: refused without one; their rehearsals on the CPU go through everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from focalnet_d2.kernels import gpu_check

ROOT = Path(__file__).resolve().parents[2]


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """In a process of its own, where Triton's interpreter can be chosen."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("arguments", [("benchmarks/run.py", "gpu"), ("-m", "focalnet_d2.kernels.gpu_check")])
def test_without_a_card_it_says_so(arguments):
    done = run_python(*arguments)
    assert done.returncode == 2
    assert "here is no CUDA device" in done.stderr
    assert done.stdout == ""


def test_rehearsal_of_the_checks():
    pytest.importorskip("triton")
    done = run_python("-m", "focalnet_d2.kernels.gpu_check", "--rehearse", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert len(errors) == 5
    assert all(row["float32"] < 1e-5 for row in errors.values())


def test_a_wrong_implementation_is_found():
    right = {"float32": 1e-6, "bfloat16": 1e-3}
    assert gpu_check.wrong({"good": right, "bad": right | {"bfloat16": float("inf")}}).keys() == {"bad"}


def test_rehearsal_times_all_implementations(tmp_path):
    pytest.importorskip("triton")
    arguments = ("gpu", "--small", "--rounds", "1", "--json", str(tmp_path))
    done = run_python("benchmarks/run.py", *arguments, TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu_none_a_rehearsal.json").read_text(encoding="utf-8"))
    assert len(result["errors against float64"]) == 5
    assert result["ceilings"]["copy_gb_per_s"] > 0
    names = {row["case"]: list(row["forms"]) for row in result["rows"]}
    assert names["deformable attention, 5-scale, forward + backward"] == ["reference", "table_lookup", "triton"]
    assert names["focal context, T, stage 1, forward + backward"] == ["reference", "channels last", "triton"]
    assert names["FocalNet huge_fl4 forward 16x16"] == ["reference", "library", "triton"]
    assert names["dino_focalnet_mini_demo training step 128x160"] == ["reference", "library"]
    for row in result["rows"]:
        assert all(form["seconds"] > 0 for form in row["forms"].values())
        if "training step" not in row["case"]:  # there bf16 may match other queries to the objects
            assert all(form.get("difference", 0) < 0.1 for form in row["forms"].values()), row

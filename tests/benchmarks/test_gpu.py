"""The benchmark for a card: refuses without one; its rehearsal on the CPU goes through everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_gpu_benchmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """In a process of its own, where Triton's interpreter can be chosen."""
    return subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_without_a_card_it_says_so():
    done = run_gpu_benchmark()
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
    assert done.stdout == ""


def test_rehearsal_checks_and_times_all_forms(tmp_path):
    pytest.importorskip("triton")
    file = tmp_path / "gpu.json"
    done = run_gpu_benchmark("--rehearse", "--rounds", "1", "--json", str(file), TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text(encoding="utf-8"))
    assert len(result["errors against float64"]) == 5
    assert all(row["float32"] < 1e-5 for row in result["errors against float64"].values())
    assert result["ceilings"]["copy_gb_per_s"] > 0
    forms = {row["case"]: list(row["forms"]) for row in result["rows"]}
    assert forms["deformable attention, 5-scale, forward + backward"] == ["plain", "table_lookup", "triton"]
    assert forms["focal context, T, stage 1, forward + backward"] == ["plain", "channels last", "triton"]
    assert forms["FocalNet huge_fl4 forward 16x16"] == ["plain", "library", "triton"]
    assert forms["dino_focalnet_mini_demo training step 128x160"] == ["plain", "library"]
    for row in result["rows"]:
        assert all(form["seconds"] > 0 for form in row["forms"].values())
        if "training step" not in row["case"]:  # there bf16 may match other queries to the objects
            assert all(form.get("difference", 0) < 0.1 for form in row["forms"].values()), row

"""The benchmark for a card: refuses without one; its rehearsal on the CPU goes through everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_benchmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_without_a_card_it_says_so():
    done = run_benchmark(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
    assert done.stdout == ""


def test_rehearsal_checks_and_times_all_forms():
    pytest.importorskip("triton")
    done = run_benchmark("--rehearse", "--rounds", "1", TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    errors = result["errors against float64"]
    assert list(errors) == ["grid_sample", "table_lookup", "triton"]
    assert all(error < 1e-4 for error in (row["float32"] for row in errors.values()))
    for step in ("forward", "forward and backward"):
        rows = result["deformable attention, 5 scales"][step]
        assert list(rows) == list(errors)
        assert all(row["median_ms"] > 0 for row in rows.values())

"""The benchmark of post-processing runs, and finds the tiles' results equal to those of the plain path."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_smoke_run(run_benchmark):
    (row,) = run_benchmark("postprocessing", "speed", "--size", "64", "96", "--rounds", "1")["rows"]
    assert row["forms"]["library"]["difference"] < 1e-6
    assert row["gflop"] > 0


def test_no_pixel_differs_and_memory_is_small():
    """Three maps of 200 queries at this size take 0.9 GB, those of 133 classes another 0.3 GB."""
    command = ["benchmarks/postprocessing.py", "memory", "--size", "500", "700", "--objects", "30", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, env=environment, check=True
    )
    found = json.loads(run.stdout)
    assert found["different_pixels"] == {"semantic": 0, "instances": 0, "panoptic": 0}
    assert found["segments"] > 10
    assert found["gigabytes"] < 0.3

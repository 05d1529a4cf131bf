"""A run that was killed anywhere is resumed, and ends with the weights of the uninterrupted one, bit by bit."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzzing import fuzz_count

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("recipe", ["dino", "mask2former"])
def test_killed_runs_resume_and_end_as_the_uninterrupted_one(recipe, processes):
    kills = str(fuzz_count(1))
    command = [sys.executable, "-m", "tests.engine.kills", recipe, str(processes), kills, "--seed", "11"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal" in done.stdout

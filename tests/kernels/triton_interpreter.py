"""What tests of Triton kernels in Triton's interpreter share: their process and their memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def run_interpreted(name: str) -> None:
    """Runs pytest on a file of this folder in a process of its own: the interpreter is chosen when triton is imported.

    Raises:
        AssertionError: a test failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"tests/kernels/{name}"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.fixture(autouse=True, scope="module")
def poisoned_memory():
    """New memory is filled with NaN, in every module that imports this."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)

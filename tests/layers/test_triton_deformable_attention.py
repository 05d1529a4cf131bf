"""The Triton form of deformable attention: its kernels in the interpreter, and when CUDA takes them."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from focalnet_d2.layers import deformable_attention as seam

ROOT = Path(__file__).resolve().parents[2]
KERNELS = "focalnet_d2.layers.triton_deformable_attention"
HALF_AND_SINGLE = (torch.float16, torch.bfloat16, torch.float32)


@pytest.fixture(autouse=True)
def _fresh_state(monkeypatch):
    """No choice in the environment and nothing tried out yet."""
    monkeypatch.delenv("FOCALNET_D2_TRITON", raising=False)
    tried_out = seam._triton_problem
    tried_out.cache_clear()
    yield
    tried_out.cache_clear()


def first_form(dtype: torch.dtype, device_type: str = "cuda") -> str:
    return seam.available_implementations(device_type, dtype)[0].name


def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    cases = Path(__file__).with_name("interpreted_kernels.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(cases)],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_triton_waits_to_be_asked_for():
    assert {first_form(dtype) for dtype in HALF_AND_SINGLE} == {"grid_sample"}
    assert "FOCALNET_D2_TRITON=1" in seam.why_not_triton()


def test_triton_is_taken_on_cuda_when_asked_for_and_able(monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setattr(seam, "_triton_problem", lambda device_type: "")
    assert seam.why_not_triton() == ""
    assert {first_form(dtype) for dtype in HALF_AND_SINGLE} == {"triton"}
    assert first_form(torch.float64) == "grid_sample"
    assert first_form(torch.float32, "cpu") != "triton"
    assert first_form(torch.float32, "mps") == "grid_sample"


def test_without_triton_another_form_is_taken(monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setitem(sys.modules, "triton", None)  # the import fails
    monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    monkeypatch.delattr("focalnet_d2.layers.triton_deformable_attention", raising=False)
    assert first_form(torch.bfloat16) == "grid_sample"
    assert "do not run: ModuleNotFoundError: import of triton" in seam.why_not_triton()


def test_nonsense_is_noticed_when_the_kernels_are_tried_out(monkeypatch):
    pytest.importorskip("triton")
    kernels = importlib.import_module(KERNELS)
    monkeypatch.setattr(kernels, "weighted_samples", lambda value, *_: value.flatten()[:1] * 3)
    with pytest.raises(RuntimeError, match=r"instead of 2\.5"):
        kernels.try_out("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_failure_to_start_is_a_reason(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    assert seam.why_not_triton().startswith("the Triton kernels do not run: ")

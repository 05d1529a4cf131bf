"""When CUDA takes the Triton kernels."""

import importlib
import sys

import pytest
import torch

from focalnet_d2.kernels import focal_context
from focalnet_d2.kernels import triton_gate as triton_choice
from focalnet_d2.layers import deformable_attention

SEAMS = {
    "triton_deformable_attention": (deformable_attention, "grid_sample"),
    "triton_focal_context": (focal_context, "plain"),
}
HALF_AND_SINGLE = (torch.float16, torch.bfloat16, torch.float32)
both = pytest.mark.parametrize("kernels", triton_choice.KERNELS)


@pytest.fixture(autouse=True)
def _fresh_state(monkeypatch):
    """No choice in the environment and nothing tried out yet."""
    monkeypatch.delenv("FOCALNET_D2_TRITON", raising=False)
    tried_out = triton_choice._problem
    tried_out.cache_clear()
    yield
    tried_out.cache_clear()


def first_form(kernels: str, dtype: torch.dtype, device_type: str = "cuda") -> str:
    return SEAMS[kernels][0].available_implementations(device_type, dtype)[0].name


@both
def test_triton_waits_to_be_asked_for(kernels):
    assert {first_form(kernels, dtype) for dtype in HALF_AND_SINGLE} == {SEAMS[kernels][1]}
    assert "FOCALNET_D2_TRITON=1" in triton_choice.why_not_triton(kernels)


@both
def test_triton_is_taken_on_cuda_when_asked_for_and_able(monkeypatch, kernels):
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setattr(triton_choice, "_problem", lambda *_: "")
    assert triton_choice.why_not_triton(kernels) == ""
    assert {first_form(kernels, dtype) for dtype in HALF_AND_SINGLE} == {"triton"}
    assert first_form(kernels, torch.float64) == SEAMS[kernels][1]
    assert first_form(kernels, torch.float32, "cpu") != "triton"
    assert first_form(kernels, torch.float32, "mps") == SEAMS[kernels][1]


@both
def test_without_triton_another_form_is_taken(monkeypatch, kernels):
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setitem(sys.modules, "triton", None)  # the import fails
    monkeypatch.delitem(sys.modules, f"focalnet_d2.layers.{kernels}", raising=False)
    assert first_form(kernels, torch.bfloat16) == SEAMS[kernels][1]
    assert "do not run: ModuleNotFoundError: import of triton" in triton_choice.why_not_triton(kernels)


@both
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_failure_to_start_is_a_reason(monkeypatch, kernels):
    pytest.importorskip("triton")
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    importlib.import_module(f"focalnet_d2.layers.{kernels}")
    assert triton_choice.why_not_triton(kernels).startswith("the Triton kernels do not run: ")

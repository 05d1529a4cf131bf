"""Checks of the machine: processor, devices, and the implementations that they take."""

import torch

from focalnet_d2.diagnostics import machine
from focalnet_d2.diagnostics.check import FALLBACK, OK, Check
from focalnet_d2.kernels import dispatch
from focalnet_d2.kernels.deformable_attention import DEFORMABLE_ATTENTION
from focalnet_d2.kernels.focal_context import FOCAL_CONTEXT


def test_cpu_description_reads_name_and_instructions(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: avx2 avx512_bf16\n", encoding="utf-8")
    assert machine.cpu_description(cpuinfo) == ("Some CPU", {"avx2", "avx512_bf16"})
    name, features = machine.cpu_description(tmp_path / "absent")
    assert name
    assert features == set()


def test_no_cuda_names_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    (check,) = machine.check_cuda()
    assert check.status == FALLBACK
    assert "built without CUDA" in check.detail
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "no device is visible" in machine.check_cuda()[0].detail


def test_implementations_are_those_that_run():
    attention, context = [check for check in machine.check_implementations() if check.name.endswith("cpu")]
    assert attention.detail.startswith(DEFORMABLE_ATTENTION.available("cpu")[0].name)
    assert context.detail.startswith(FOCAL_CONTEXT.available("cpu")[0].name)


def test_implementation_that_is_missing_has_its_reason(monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    checks = [check for check in machine.check_implementations() if check.name.endswith("cpu")]
    for check, name in zip(checks, ("table_lookup", "plain"), strict=True):
        assert check.status == OK
        assert check.detail.startswith(name)
        assert check.detail.endswith("not compiled: FOCALNET_D2_COMPILE=0")


def test_triton_is_mentioned_only_with_cuda_and_says_why_it_is_not_taken(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.check_triton() == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("FOCALNET_D2_TRITON", raising=False)
    (check,) = machine.check_triton()
    assert check.status == FALLBACK
    assert "FOCALNET_D2_TRITON=1" in check.detail
    assert "focalnet_d2.kernels.gpu_check" in check.fix
    monkeypatch.setenv("FOCALNET_D2_TRITON", "1")
    monkeypatch.setattr(dispatch, "_failure", lambda *arguments: "")
    detail = "FOCALNET_D2_TRITON=1: deformable attention and focal context take their Triton kernels"
    assert machine.check_triton() == [Check("triton", OK, detail)]

"""Choice of device and of the autocast dtype."""

import pytest
import torch

from focalnet_d2.engine.device import resolve_amp, resolve_device

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def test_named_devices():
    assert resolve_device("cpu") == CPU
    assert resolve_device("cpu", local_rank=3) == CPU


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda:2"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_prefers_cuda_then_mps(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert str(resolve_device("auto", local_rank=2)) == expected


def test_absent_and_unknown_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="take cpu or auto"):
        resolve_device("cuda")
    with pytest.raises(ValueError, match="Unknown device 'gpu'"):
        resolve_device("gpu")


@pytest.mark.parametrize("training", [True, False])
def test_amp_on_the_cpu(training):
    assert resolve_amp("off", CPU, training=training) is None
    assert resolve_amp("auto", CPU, training=training) is None
    assert resolve_amp("bf16", CPU, training=training) is torch.bfloat16
    with pytest.raises(ValueError, match="fp16 needs a CUDA device"):
        resolve_amp("fp16", CPU, training=training)
    with pytest.raises(ValueError, match="off, auto, bf16, fp16"):
        resolve_amp("half", CPU, training=training)


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_amp_on_cuda_is_for_training(monkeypatch, supported, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: supported)
    assert resolve_amp("auto", CUDA, training=True) is expected
    assert resolve_amp("auto", CUDA, training=False) is None
    assert resolve_amp("fp16", CUDA, training=False) is torch.float16

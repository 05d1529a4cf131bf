"""Deformable attention in Triton: its kernels in the interpreter, and nonsense."""

import pytest

from tests.kernels.triton_interpreter import run_interpreted


def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    run_interpreted("interpreted_deformable_attention.py")


def test_nonsense_is_noticed_when_the_kernels_are_tried_out(monkeypatch):
    pytest.importorskip("triton")
    from focalnet_d2.kernels import deformable_attention_triton as kernels

    monkeypatch.setattr(kernels, "deformable_attention_triton", lambda value, *_: value.flatten()[:1] * 3)
    with pytest.raises(RuntimeError, match=r"instead of 2\.5"):
        kernels.try_out("cpu")

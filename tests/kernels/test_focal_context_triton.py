"""The focal context in Triton: its kernels in the interpreter, and nonsense."""

import pytest

from tests.kernels.triton_interpreter import run_interpreted


def test_kernels_in_the_interpreter():
    pytest.importorskip("triton")
    run_interpreted("interpreted_focal_context.py")


def test_nonsense_is_noticed_when_the_kernels_are_tried_out(monkeypatch):
    pytest.importorskip("triton")
    from focalnet_d2.kernels import focal_context_triton as kernels

    monkeypatch.setattr(
        kernels, "focal_context_triton", lambda x, gates, weights: (x * gates * weights[0].sum(), x[0, 0])
    )
    with pytest.raises(RuntimeError, match=r"instead of \[1\.68"):
        kernels.try_out("cpu")

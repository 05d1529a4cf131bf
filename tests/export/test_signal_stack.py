"""Signals are handled after sessions of OpenVINO are gone, in whichever order and thread they go."""

import subprocess
import sys

import pytest

from tests.export.mean_color import write_mean_color
from tests.syntax_trees import ROOT

PROGRAM = """
import gc, os, signal, sys, threading
from focalnet_d2.export.sessions import open_session

signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
sessions = [open_session(sys.argv[1], runtime="openvino") for _ in range(3)]

def drop_first():
    del sessions[0]
    gc.collect()

drop_first()
drop_first()
last = threading.Thread(target=drop_first)
last.start()
last.join()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="alternate signal stacks of OpenVINO are seen on Linux")
def test_a_signal_after_the_last_session_is_handled(tmp_path):
    write_mean_color(tmp_path / "mean.onnx")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "mean.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr

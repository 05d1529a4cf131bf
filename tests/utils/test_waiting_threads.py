"""The watch that lets waiting threads sleep while the cores are shared."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from focalnet_d2.utils import waiting_threads
from focalnet_d2.utils.waiting_threads import Judge, openmp_libraries, start_watch

ROOT = Path(__file__).parents[2]
ON_LINUX = pytest.mark.skipif(sys.platform != "linux" or not waiting_threads.WAITED.exists(), reason="needs Linux")


def judged(*shares):
    judge = Judge()
    return [judge.hear(share) for share in shares]


def test_shared_cores_are_noticed_at_once():
    assert judged(0.0, 0.05, 0.3, 0.05) == [False, False, True, True]


def test_cores_that_are_free_again_are_believed_after_two_seconds():
    assert judged(0.5, *[0.0] * 8) == [True] * 8 + [False]
    assert judged(0.5, *[0.0] * 7, 0.06, *[0.0] * 8) == [True] * 16 + [False]


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_settings_of_the_environment_are_left_alone(name, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail("a watch was started"))
    assert not start_watch({name: "1"})
    assert not start_watch({"OMP_NUM_THREADS": "1"})


def test_a_system_that_says_nothing_has_no_watch(monkeypatch, tmp_path):
    monkeypatch.setattr(waiting_threads, "WAITED", tmp_path / "absent")
    assert not start_watch({})
    (tmp_path / "short").write_text("12")
    monkeypatch.setattr(waiting_threads, "WAITED", tmp_path / "short")
    assert not start_watch({})


IN_A_CROWD = """
import os, sys, threading, torch
from focalnet_d2.utils.waiting_threads import Crowd, openmp_libraries

def count(): return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
x = torch.linspace(0, 1, 1 << 20)
first, before = (x * x).sum().item(), count()
libraries = openmp_libraries()
assert any(hasattr(library, "GOMP_parallel") for library in libraries)
crowd = Crowd(libraries)
while count() < before + libraries[0].omp_get_num_procs(): pass
assert torch.get_num_threads() == 2
assert (x * x).sum().item() == first
crowd.end()
while count() > before: pass
assert (x * x).sum().item() == first
assert threading.active_count() == 1
print("done")
"""


@ON_LINUX
@pytest.mark.skipif(not openmp_libraries() or len(os.sched_getaffinity(0)) < 2, reason="needs libgomp and two cores")
def test_a_crowd_comes_and_goes_and_changes_no_result():
    environment = {name: text for name, text in os.environ.items() if name not in ("OMP_NUM_THREADS",)}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CROWD], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.stdout == "done\n", done.stderr


@ON_LINUX
def test_the_watch_calls_a_crowd_and_sends_it_away(monkeypatch):
    """With a made-up clock and a made-up time in wait for a core: nothing here depends on the machine's load."""
    steps = iter([(1, 0.0), (2, 0.0), (3, 0.5), (4, 1.0), *[(5 + i, 1.0) for i in range(8)]])  # seconds, of them waited
    now, waited, events = [0], [0.0], []

    def sleep(seconds):
        try:
            now[0], waited[0] = next(steps)
        except StopIteration:
            waited[0] = None

    class Noted:
        def __init__(self, libraries):
            events.append((now[0], "called"))

        def end(self):
            events.append((now[0], "sent away"))

    monkeypatch.setattr(waiting_threads.time, "sleep", sleep)
    monkeypatch.setattr(waiting_threads.time, "monotonic_ns", lambda: now[0] * 10**9)
    monkeypatch.setattr(waiting_threads, "_waited", lambda: None if waited[0] is None else int(waited[0] * 10**9))
    monkeypatch.setattr(waiting_threads, "Crowd", Noted)
    monkeypatch.setattr(waiting_threads, "openmp_libraries", lambda: [torch])
    waiting_threads._run()
    assert events == [(3, "called"), (12, "sent away")]

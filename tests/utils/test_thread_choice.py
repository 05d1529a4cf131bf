"""Threads of command lines: chosen before torch is loaded, by what the process may use; the environment's own win."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from focalnet_d2.utils import thread_choice
from focalnet_d2.utils.thread_choice import choose_threads, decide
from focalnet_d2.utils.usable_cores import UsableCores

ROOT = Path(__file__).parents[2]
VARIABLES = (*thread_choice.NUMBERS, *thread_choice.USERS_OWN, "LOCAL_WORLD_SIZE")


@pytest.fixture
def cores(monkeypatch):
    """Says what the process may use: by default 8 of 8 cores, each of which is two logical ones."""

    def say(quota=None, physical=8):
        monkeypatch.setattr(thread_choice, "find_cores", lambda: UsableCores(16, 2 * physical, physical, quota))

    say()
    return say


def test_without_a_limit_nothing_is_set(cores):
    assert decide(environment={}).settings == {}
    cores(quota=20)
    assert decide(environment={}).settings == {}


@pytest.mark.parametrize(("quota", "threads"), [(7, "7"), (2.5, "3"), (1, "1"), (0.2, "1")])
def test_a_quota_limits_threads_and_lets_them_sleep(cores, quota, threads):
    cores(quota)
    assert decide(environment={}).settings == {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(("processes", "threads"), [(2, "4"), (3, "2"), (8, "1"), (20, "1")])
def test_processes_share_the_cores(cores, processes, threads):
    assert decide(processes, {}).settings == {"OMP_NUM_THREADS": threads}
    assert decide(1, {"LOCAL_WORLD_SIZE": str(processes)}).settings == {"OMP_NUM_THREADS": threads}
    assert decide(1, {"LOCAL_WORLD_SIZE": "many"}).settings == {}


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_of_the_environment_wins(cores, name):
    cores(quota=2)
    assert decide(environment={name: "5"}).settings == {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_a_way_to_wait_of_the_environment_wins(cores, name):
    cores(quota=2)
    assert decide(environment={name: "ACTIVE"}).settings == {"OMP_NUM_THREADS": "2"}


def test_the_last_choice_counts_and_leaves_what_is_the_environments_own(cores, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(thread_choice, "start_watch", lambda environment: None)
    monkeypatch.setattr(thread_choice, "_chosen", None)
    environment = {"PATH": "x"}
    choose_threads(2, environment)
    assert environment == {"PATH": "x", "OMP_NUM_THREADS": "4"}
    choose_threads(4, environment)
    assert environment == {"PATH": "x", "OMP_NUM_THREADS": "2"}
    assert thread_choice.chosen().users == {}
    choose_threads(1, environment)
    assert environment == {"PATH": "x"}
    environment["OMP_NUM_THREADS"] = "3"
    choose_threads(4, environment)
    assert environment == {"PATH": "x", "OMP_NUM_THREADS": "3"}
    assert thread_choice.chosen().users == {"OMP_NUM_THREADS": "3"}


def test_once_torch_is_loaded_nothing_is_set(cores, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", sys)
    environment = {}
    choose_threads(4, environment)
    assert environment == {}


def test_the_choice_in_words(cores):
    assert str(decide(environment={})) == (
        "16 of 16 logical cores may be used (no quota); command lines set no number of threads"
    )
    cores(quota=1.5)
    assert str(decide(2, {"GOMP_SPINCOUNT": "0"})) == (
        "16 of 16 logical cores may be used (a quota of 1.5), shared by 2 processes; command lines set "
        "OMP_NUM_THREADS=1; the environment's own are GOMP_SPINCOUNT=0"
    )


def run_fresh(script: str, *arguments: object, **variables: str) -> str:
    environment = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORTS = """
import os, sys, threading
before = dict(os.environ)
import focalnet_d2, focalnet_d2.commands.train, focalnet_d2.commands.predict, focalnet_d2.utils.thread_choice, train_net
assert dict(os.environ) == before
import torch
threads = torch.get_num_threads()
focalnet_d2.Predictor
sys.path.insert(0, "tools")
import demo
new = os.environ.keys() - before.keys()
assert not [name for name in new if name.partition("_")[0] in ("OMP", "GOMP", "MKL", "KMP")]
assert torch.get_num_threads() == threads
assert threading.active_count() == 1, threading.enumerate()
"""


def test_importing_the_library_changes_nothing():
    run_fresh(IMPORTS)


IN_A_CONTAINER = """
import sys
from pathlib import Path
from focalnet_d2.utils import control_groups
folder = Path(sys.argv[1])
control_groups.PROC, control_groups.GROUPS = folder / "proc", folder / "groups"
assert "torch" not in sys.modules
from focalnet_d2.commands.main import main
sys.exit(main(["doctor", "--json"]))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has no smaller quota")
def test_the_choice_reaches_torch_and_the_doctor(tmp_path):
    """In a container with a quota of one core, as the machine's user would see it."""
    for name, text in {"proc/self/cgroup": "0::/box\n", "groups/box/cpu.max": "100000 100000\n"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = {check["name"]: check["detail"] for check in json.loads(run_fresh(IN_A_CONTAINER, tmp_path))["checks"]}
    assert (
        "(a quota of 1); command lines set OMP_NUM_THREADS=1 and OMP_WAIT_POLICY=PASSIVE; torch uses 1"
        in (found["threads"])
    )
    own = json.loads(run_fresh(IN_A_CONTAINER, tmp_path, OMP_NUM_THREADS="2", GOMP_SPINCOUNT="5"))
    found = {check["name"]: check["detail"] for check in own["checks"]}
    assert "the environment's own are OMP_NUM_THREADS=2 and GOMP_SPINCOUNT=5; torch uses 2" in found["threads"]


OF_RANKS = """
import sys
from focalnet_d2.commands.errors import end_with_one_line

def run():
    from focalnet_d2.engine.distributed import launch
    from tests.utils.ranks import show_threads
    launch(show_threads, num_processes=2)
    return 0

if __name__ == "__main__":
    sys.exit(end_with_one_line(run, processes=2))
"""


def test_the_choice_reaches_the_processes_of_a_run():
    """Each has half of the cores, and what is left over is nobody's."""
    expected = max(1, thread_choice.find_cores().for_threads // 2)
    assert run_fresh(OF_RANKS).split() == [f"{expected}", f"{expected}"]

"""With how many threads a command line computes, chosen before torch is loaded.

torch takes one thread for each core that the process may run on, whatever the quota of its container and however many
processes it is one of. Libraries read the variables of the environment when they are loaded, and child processes
inherit them; so the choice is written there. What the environment says already is left as it is.

Workers of loaders are not taken off: each has one thread (PyTorch sees to that) and sleeps while batches are ahead. And
numbers would then depend on how many there are.
"""

import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from .usable_cores import UsableCores, find_cores
from .waiting_threads import USERS_OWN, start_watch

NUMBERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")  # either decides about torch's threads


@dataclass(frozen=True)
class ThreadChoice:
    """What was found, and what follows from it.

    Attributes:
        cores: what the process may use.
        processes: how many share them, this one included.
        users: what the environment said before, in the variables that are left as they are.
        settings: variables that are set.
    """

    cores: UsableCores
    processes: int
    users: dict[str, str]
    settings: dict[str, str]

    def __str__(self) -> str:
        cores = self.cores
        quota = "no quota" if cores.quota is None else f"a quota of {cores.quota:g}"
        of_one = "" if self.processes == 1 else f", shared by {self.processes} processes"
        found = f"{cores.allowed} of {cores.machine} logical cores may be used ({quota}){of_one}"
        settings = "command lines set " + (_listed(self.settings) or "no number of threads")
        users = f"the environment's own are {_listed(self.users)}" if self.users else ""
        return "; ".join(filter(None, [found, settings, users]))


_chosen: ThreadChoice | None = None


def choose_threads(processes: int = 1, environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables of the environment and watch waiting threads, for this process and its children.

    It is for programs, not for libraries. Where torch is loaded already it is too late, and nothing is done. The last
    call counts.

    Args:
        processes: of this machine that will compute at the same time; more where the launcher of this process says so.
    """
    global _chosen
    if "torch" in sys.modules:
        return
    for name, value in (_chosen.settings if _chosen else {}).items():
        if environment.get(name) == value:
            del environment[name]
    _chosen = decide(processes, environment)
    environment.update(_chosen.settings)
    start_watch(environment)


def chosen() -> ThreadChoice | None:
    """What `choose_threads` did in this process."""
    return _chosen


def decide(processes: int = 1, environment: Mapping[str, str] = os.environ) -> ThreadChoice:
    """What `choose_threads` would do now."""
    cores = find_cores()
    processes = max(processes, _processes_of_launcher(environment))
    users = {name: environment[name] for name in (*NUMBERS, *USERS_OWN) if name in environment}
    settings = {}
    threads = max(1, cores.for_threads // processes)
    if threads < cores.physical and not any(name in users for name in NUMBERS):  # else torch takes as many by itself
        settings["OMP_NUM_THREADS"] = str(threads)
    if cores.is_limited and not any(name in users for name in USERS_OWN):
        settings["OMP_WAIT_POLICY"] = "PASSIVE"  # the time in which a thread waits awake is part of the quota
    return ThreadChoice(cores, processes, users, settings)


def _listed(variables: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={value}" for name, value in variables.items())


def _processes_of_launcher(environment: Mapping[str, str]) -> int:
    text = environment.get("LOCAL_WORLD_SIZE", "")  # of torchrun
    return int(text) if text.isdecimal() and int(text) else 1

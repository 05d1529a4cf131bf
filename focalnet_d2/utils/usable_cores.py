"""How many cores this process may use: those that it may run on, within the quota of its container.

`os.cpu_count()` is the number of the machine. A scheduler of batch jobs or `taskset` allows a process some of them (its
affinity), and a container often has a quota of processor time instead: it sees all cores, and is stopped for the rest
of each tenth of a second once its time is used up.
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .control_groups import ControlGroup, own_groups

CPUS = Path("/sys/devices/system/cpu")


class UsableCores(NamedTuple):
    """What was found.

    Attributes:
        machine: logical cores of the machine.
        allowed: logical cores that the process may run on.
        physical: cores among them, of which each may be two logical ones or more.
        quota: cores' worth of processor time that its control groups allow; None without a limit.
    """

    machine: int
    allowed: int
    physical: int
    quota: float | None

    @property
    def is_limited(self) -> bool:
        """Whether the quota is less than the cores that the process sees."""
        return self.quota is not None and self.quota < self.allowed

    @property
    def count(self) -> int:
        """Logical cores that the process can keep at work; a part of a core counts as one."""
        return self._within_quota(self.allowed)

    @property
    def for_threads(self) -> int:
        """Cores for threads that compute: two on the two halves of one core are hardly faster than one."""
        return self._within_quota(self.physical)

    def _within_quota(self, cores: int) -> int:
        return cores if self.quota is None else max(1, min(cores, math.ceil(self.quota)))


def usable_cores() -> int:
    """Logical cores that this process can keep at work, at least 1."""
    return find_cores().count


def find_cores() -> UsableCores:
    """What this process may use."""
    machine = os.cpu_count() or 1
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(machine))  # not on macOS
    quotas = [quota for group in own_groups("cpu") for quota in _quota(group)]
    return UsableCores(machine, len(allowed), len({_core_of(cpu) for cpu in allowed}), min(quotas, default=None))


def _core_of(cpu: int) -> str:
    """What all logical cores of one physical core have in common; where nothing tells, each is one of its own."""
    with suppress(OSError):
        return (CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text(encoding="utf-8").strip()
    return str(cpu)


def _quota(group: ControlGroup) -> Iterator[float]:
    """The quota of a group in cores; nothing where it has none, or its files cannot be read."""
    with suppress(OSError, ValueError):
        if group.version == 1:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            time, period = ((group.folder / name).read_text(encoding="utf-8").strip() for name in names)
        else:
            time, period = (group.folder / "cpu.max").read_text(encoding="utf-8").split()
        if time not in ("max", "-1") and int(time) > 0 and int(period) > 0:
            yield int(time) / int(period)

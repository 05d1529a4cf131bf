"""Cores that a process may use, from made-up control groups of both versions, affinity and topology."""

import os

import pytest

from focalnet_d2.utils import usable_cores
from focalnet_d2.utils.usable_cores import UsableCores, find_cores
from tests.made_up_system import made_up_system


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine of 8 logical cores, all of them allowed; writes further files by their paths below `tmp_path`."""
    monkeypatch.setattr(usable_cores, "CPUS", tmp_path / "cpus")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    return made_up_system(tmp_path, monkeypatch)


def test_a_machine_without_limits(system):
    assert find_cores() == UsableCores(machine=8, allowed=8, physical=8, quota=None)
    assert usable_cores.usable_cores() == 8


def test_a_system_without_affinity(system, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert find_cores().allowed == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert find_cores() == UsableCores(1, 1, 1, None)


def test_affinity_and_halves_of_cores(system, monkeypatch):
    """Logical cores n and n + 4 are the halves of one core."""
    siblings = {f"cpus/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 4},{cpu % 4 + 4}\n" for cpu in range(8)}
    system(siblings)
    assert find_cores() == UsableCores(8, 8, 4, None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 5})
    assert find_cores() == UsableCores(8, 3, 2, None)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("100000 100000", 1.0), ("150000 100000", 1.5), ("10000 100000", 0.1), ("max 100000", None)],
)
def test_quota_of_version_2(system, quota, cores):
    system({"proc/self/cgroup": "0::/a/b\n", "groups/a/b/cpu.max": f"{quota}\n"})
    assert find_cores().quota == cores


@pytest.mark.parametrize(("quota", "cores"), [("100000", 1.0), ("250000", 2.5), ("-1", None)])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_quota_of_version_1(system, quota, cores, controllers):
    files = {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": "100000"}
    system({"proc/self/cgroup": f"7:pids:/x\n4:{controllers}:/a/b\n0::/\n"})
    system({f"groups/cpu/a/b/{name}": f"{text}\n" for name, text in files.items()})
    assert find_cores().quota == cores


def test_the_narrowest_of_the_outer_groups_counts(system):
    """Also the root of a container, where the path of the host is not to be found."""
    system({"proc/self/cgroup": "0::/a/b/c\n", "groups/a/b/c/cpu.max": "max 100000\n"})
    system({"groups/a/cpu.max": "300000 100000\n", "groups/a/b/cpu.max": "400000 100000\n"})
    assert find_cores().quota == 3
    system({"groups/cpu.max": "100000 50000\n"})
    assert find_cores().quota == 2


@pytest.mark.parametrize("content", ["", "max", "100000 0", "0 100000", "some words", "1 2 3"])
def test_broken_files_are_no_limit(system, content):
    system(
        {"proc/self/cgroup": "0::/a\n4:cpu:/a\n", "groups/a/cpu.max": content, "groups/cpu/a/cpu.cfs_quota_us": content}
    )
    assert find_cores().quota is None


@pytest.mark.parametrize(
    ("quota", "count", "for_threads"),
    [(None, 8, 4), (16, 8, 4), (8, 8, 4), (5, 5, 4), (2.5, 3, 3), (1, 1, 1), (0.1, 1, 1)],
)
def test_a_part_of_a_core_counts_as_one(quota, count, for_threads):
    cores = UsableCores(8, 8, 4, quota)
    assert (cores.count, cores.for_threads) == (count, for_threads)
    assert cores.is_limited == (quota is not None and quota < 8)

"""The memory that is free, within the limits of control groups of both versions."""

import pytest
import torch

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.planning import available_memory as memory
from focalnet_d2.planning.available_memory import available_memory
from tests.made_up_system import made_up_system


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes files of a system, by their paths below it."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    return made_up_system(tmp_path, monkeypatch)


def group(folder, limit, used, cached, version):
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    stat = f"anon 5\n{'inactive_file' if version == 2 else 'total_inactive_file'} {cached}\n"
    return {f"{folder}/{names[0]}": f"{limit}\n", f"{folder}/{names[1]}": f"{used}\n", f"{folder}/memory.stat": stat}


MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n"}
CPU = torch.device("cpu")


def test_a_machine_without_limits(system):
    system(MACHINE)
    assert available_memory(CPU) == 4000 * 1024


@pytest.mark.parametrize(
    ("version", "line", "root"), [(2, "0::/a/b", "groups"), (1, "4:cpu,memory:/a/b", "groups/memory")]
)
def test_the_narrowest_group_counts_and_its_cache_is_free(system, version, line, root):
    system({**MACHINE, "proc/self/cgroup": f"7:pids:/x\n{line}\n"})
    assert available_memory(CPU) == 4000 * 1024  # the groups are not there
    system(group(f"{root}/a", 3_000_000, 1_000_000, 250_000, version))
    assert available_memory(CPU) == 2_250_000
    system(group(f"{root}/a/b", "max" if version == 2 else 2**63 - 4096, 1_000_000, 0, version))
    assert available_memory(CPU) == 2_250_000
    system(group(root, 500, 600, 0, version))
    assert available_memory(CPU) == 0


def test_a_system_that_tells_nothing_asks_for_a_number(system):
    with pytest.raises(RecipeError, match="write it, as in train.batch=8GB"):
        available_memory(CPU)

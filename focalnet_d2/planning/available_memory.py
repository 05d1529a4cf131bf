"""How much memory is there for a process of a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from focalnet_d2.config.lazy import RecipeError
from focalnet_d2.utils.control_groups import own_groups

PROC = Path("/proc")


class _Names(NamedTuple):
    """Files of a control group, and the line of `memory.stat` with what can be taken back from its caches."""

    limit: str
    used: str
    cached: str


_VERSION_1 = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = _Names("memory.max", "memory.current", "inactive_file")


def available_memory(device: torch.device) -> int:
    """Bytes that are free on a device: of a card, or of the machine within the limits of its container.

    Raises:
        RecipeError: nothing tells.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    rooms = [*_of_machine(), *_of_groups()]
    if not rooms:
        raise RecipeError("This system does not say how much memory is free: write it, as in train.batch=8GB.")
    return min(rooms)


def _of_machine() -> Iterator[int]:
    """What Linux takes to be available; nothing on other systems."""
    file = PROC / "meminfo"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    yield from (1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def _of_groups() -> Iterator[int]:
    """What is left of the limits of this process's control groups and of all that they are in."""
    for group in own_groups("memory"):
        yield from _room(group.folder, _VERSION_1 if group.version == 1 else _VERSION_2)


def _room(group: Path, names: _Names) -> Iterator[int]:
    try:
        limit, used = ((group / name).read_text(encoding="utf-8").strip() for name in names[:2])
        lines = (group / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    cached = sum(int(line.split()[1]) for line in lines if line.split()[:1] == [names.cached])
    if limit != "max":
        yield max(0, int(limit) - int(used) + cached)

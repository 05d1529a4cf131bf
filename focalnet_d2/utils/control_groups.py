"""The control groups of Linux that this process is in, which limit what it may use; both versions."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


class ControlGroup(NamedTuple):
    """A group: version 1 or 2, and its folder, which need not be there."""

    version: int
    folder: Path


def own_groups(controller: str) -> Iterator[ControlGroup]:
    """The groups of this process for a controller ("cpu", "memory"), each followed by all that it is in.

    In a container the outer ones, or its own, may not be there. Nothing on other systems.
    """
    own = PROC / "self" / "cgroup"
    for line in own.read_text(encoding="utf-8").splitlines() if own.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        version, root = (1, GROUPS / controller) if controllers else (2, GROUPS)
        inner = Path(path.lstrip("/"))
        yield from (ControlGroup(version, root / group) for group in (inner, *inner.parents))

"""Files of a made-up machine in place of /proc and /sys, for what asks them about limits."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from focalnet_d2.utils import control_groups


def made_up_system(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], None]:
    """Lets control groups be read below a folder; writes files by their paths below it."""
    monkeypatch.setattr(control_groups, "PROC", root / "proc")
    monkeypatch.setattr(control_groups, "GROUPS", root / "groups")

    def write(files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write

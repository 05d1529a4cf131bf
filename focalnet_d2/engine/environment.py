"""`environment.json`: with what and on which data a run was started, each time, and what it took until it ended."""

import importlib.metadata
import json
import logging
import platform
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.usable_cores import usable_cores
from focalnet_d2.version import __version__

try:
    import resource  # not on Windows, where memory is not measured
except ImportError:
    resource = None

ENVIRONMENT = "environment.json"
PACKAGES = ("torch", "torchvision", "detectron2", "sal-detectron2", "fvcore", "numpy", "pillow", "pycocotools", "timm")
_SECONDS = 10  # that git may take

logger = logging.getLogger(__name__)


def note_start(folder: Path, *, iteration: int, device: torch.device, data: dict[str, Any]) -> None:
    """Add a start of the run to its file; on the main process.

    Args:
        folder: of the run.
        iteration: with which it begins, 0 for a new run.
        data: of `RunData.summary`.
    """
    content = _read(folder) if iteration else {}
    start = {
        "time": _now(),
        "iteration": iteration,
        "versions": versions(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "git": git_commits(),
    }
    starts = [*(content.get("starts") or []), start]
    _write(folder, {"starts": starts, "data": data})


def note_end(folder: Path, *, iteration: int) -> None:
    """Say in the file that the run is complete; on the main process."""
    content = _read(folder)
    _write(folder, {**content, "ended": {"time": _now(), "iteration": iteration, "peak_memory_mib": peak_memory()}})


def versions() -> dict[str, str]:
    """Python's version, ours, and those of packages that decide about numbers."""
    found = {"focalnet_d2": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def describe_device(device: torch.device) -> str:
    """The model of a card, or the device and how many cores the process may use."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return f"{device.type}, {usable_cores()} cores ({platform.machine()})"


def git_commits() -> dict[str, str]:
    """The commit of this package's checkout and of the working folder, where they are in git; "+" marks changes."""
    found = {}
    for name, folder in (("focalnet_d2", Path(__file__).resolve().parents[2]), ("working folder", Path.cwd())):
        if (folder / ".git").exists() or name != "focalnet_d2":
            commit = _git(folder, "rev-parse", "HEAD")
            if commit and commit not in (text.rstrip("+") for text in found.values()):
                found[name] = commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    return found


def peak_memory() -> dict[str, float]:
    """MiB that this process has held at most: of its card and, where the system tells, of the machine."""
    found = {}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["card"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    if resource is not None:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        found["machine"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    return found


def _git(folder: Path, *arguments: str) -> str:
    """What git prints; "" where it is missing, refuses or takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _read(folder: Path) -> dict[str, Any]:
    """The file as it is; nothing where it is missing or damaged, which is no reason to end a run."""
    try:
        content = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(folder: Path, content: dict[str, Any]) -> None:
    """Write the file; a run does not end because it cannot be written."""
    try:
        write_atomically(folder / ENVIRONMENT, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        logger.warning("%s cannot be written: %s", folder / ENVIRONMENT, error)

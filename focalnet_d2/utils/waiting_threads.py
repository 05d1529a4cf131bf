"""Threads of a computation that wait for each other sleep while other processes want the cores.

torch's Linux wheels ship GNU's OpenMP (libgomp). One of its threads that waits for another turns in a loop for some
milliseconds before it sleeps: on cores of its own that is the fastest way. On cores that are shared, the one that it
waits for may not be running, and the loop takes the time in which it could. How often a thread looks before it sleeps
is fixed when the library is loaded (GOMP_SPINCOUNT), but not for good: with more threads of its own than cores it looks
100 times only, as its manual says under GOMP_SPINCOUNT. So the watch asks the system how long the main thread had to
wait for a core, and while that is long it keeps threads that do nothing but make them too many. Numbers do not change:
a computation is divided among as many threads as before.
"""

import ctypes
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

USERS_OWN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
WAITED = Path("/proc/self/schedstat")  # of the main thread: ns at work, ns in wait for a core, turns

_PERIOD = 0.25  # seconds
_BUSY, _CALM = 0.1, 0.04  # of the time in wait for a core
_CALM_PERIODS = 8

_watch: threading.Thread | None = None


def start_watch(environment: Mapping[str, str] = os.environ) -> bool:
    """Watch until the process ends; a second call changes nothing.

    It is for programs, not for libraries. Nothing is done where one thread computes, the environment has settings of
    its own, or the system does not say how long threads wait for a core.

    Returns:
        Whether there is a watch now.
    """
    global _watch
    is_users = any(name in environment for name in USERS_OWN)
    if is_watched() or is_users or environment.get("OMP_NUM_THREADS") == "1" or _waited() is None:
        return is_watched()
    _watch = threading.Thread(target=_run, daemon=True, name="watch of waiting threads")
    _watch.start()
    return True


def is_watched() -> bool:
    """Whether this process has a watch; one that was forked has none."""
    return _watch is not None and _watch.is_alive()


class Crowd:
    """Threads of OpenMP that do nothing, as many as there are cores, until it is ended.

    Args:
        libraries: of `openmp_libraries`.
    """

    def __init__(self, libraries: Sequence[ctypes.CDLL]) -> None:
        self._libraries = libraries
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._gather, daemon=True, name="crowd")
        self._thread.start()

    def end(self) -> None:
        """Let them go."""
        self._end.set()
        self._thread.join()

    def _gather(self) -> None:
        for library in self._libraries:
            library.GOMP_parallel(library.omp_get_thread_num, None, library.omp_get_num_procs(), 0)
        self._end.wait()  # they belong to this thread, and end with it


def openmp_libraries() -> list[ctypes.CDLL]:
    """GNU's OpenMP as this process has it loaded; packages may bring copies of their own."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths = {line.split(maxsplit=5)[-1].rstrip("\n") for line in file if "libgomp" in line}
    libraries = []
    for path in sorted(paths):
        with suppress(OSError):  # a file that an installation has replaced meanwhile
            libraries.append(ctypes.CDLL(path))
    return libraries


class Judge:
    """Whether the cores are shared, from the share of the time in which a thread waited for one."""

    def __init__(self) -> None:
        self.is_busy = False
        self._calm_periods = 0

    def hear(self, share: float) -> bool:
        """The answer after one more period: at once when the cores are busy, later when they no longer are."""
        self._calm_periods = self._calm_periods + 1 if share < _CALM else 0
        self.is_busy = share > _BUSY or (self.is_busy and self._calm_periods < _CALM_PERIODS)
        return self.is_busy


def _run() -> None:
    judge, crowd = Judge(), None
    before, start = _waited() or 0, time.monotonic_ns()
    while True:
        time.sleep(_PERIOD)
        waited, now = _waited(), time.monotonic_ns()
        if waited is None:
            return
        is_busy = judge.hear((waited - before) / (now - start))
        before, start = waited, now
        if is_busy and crowd is None:
            crowd = Crowd(libraries) if (libraries := openmp_libraries()) else None
        elif crowd is not None and not is_busy:
            crowd.end()
            crowd = None


def _waited() -> int | None:
    """ns that the main thread has waited for a core so far; None where the system does not say."""
    try:
        return int(WAITED.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None

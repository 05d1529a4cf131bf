"""SIGTERM, SIGINT and SIGUSR1 as requests: the first lets a piece of work end, the second ends the process at once."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")  # the last, which SLURM sends on request, is not on Windows
EXIT_STATUS = {int(number): 128 + number for name in NAMES if (number := getattr(signal, name, 0))}  # as shells have it
AS_ONE = 1.0  # seconds within which signals count as one: a terminal sends Ctrl-C to all processes, so does torchrun
_active: list["StopSignals"] = []  # the innermost last


class RunStopped(Exception):  # noqa: N818 - no error
    """A run was stopped by a signal, `signum`; `exit_status` is the one by which a shell would report it."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(signum, message)  # what a pickled error is made again from
        self.signum = signum
        self.exit_status = EXIT_STATUS[signum]
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignals:
    """A context that notes the first signal as `received` (0: none); a second one has the effect that it had before.

    One inside another takes over what that has noted, and hands back what it has noted itself. Outside of the main
    thread, where Python handles no signals, it does nothing.

    Args:
        forward_to: process ids that get every signal as well.
    """

    def __init__(self, forward_to: Sequence[int] = ()) -> None:
        self.received = 0
        self.forward_to = forward_to
        self._time = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        with suppress(ValueError):  # another thread
            for signum in EXIT_STATUS:
                self._before[signum] = signal.signal(signum, self._handle)
        if _active and _active[-1].received:
            self.received, self._time = _active[-1].received, _active[-1]._time
            self._forward(self.received)
        _active.append(self)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._restore()
        _active.remove(self)
        if self.received and _active and not _active[-1].received:
            _active[-1].received, _active[-1]._time = self.received, self._time

    def _restore(self) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        is_repeated = self.received and time.monotonic() - self._time > AS_ONE
        self._forward(signum)
        if is_repeated:
            for context in reversed(_active):
                context._restore()
            signal.raise_signal(signum)
        elif not self.received:
            self.received, self._time = signum, time.monotonic()
            if not self.forward_to and os.environ.get("RANK", "0") == "0":
                _say(f"{signal_name(signum)}: the present piece of work still ends; once more stops it at once.\n")

    def _forward(self, signum: int) -> None:
        for process in self.forward_to:
            with suppress(ProcessLookupError):
                os.kill(process, signum)


def requested() -> int:
    """The signal that asks the present work to stop, 0 for none."""
    return _active[-1].received if _active else 0


def signal_name(signum: int) -> str:
    """For example `SIGTERM`."""
    return signal.Signals(signum).name


def _say(text: str) -> None:
    """To stderr, past Python's buffers, which the signal may have interrupted."""
    with suppress(OSError):
        os.write(2, text.encode())

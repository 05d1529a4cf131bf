"""SIGTERM and SIGINT as requests: the first lets a piece of work end, the second ends the process at once."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
AS_ONE = 1.0  # seconds within which signals count as one: a terminal sends Ctrl-C to all processes, so does torchrun


class RunStopped(Exception):  # noqa: N818 - no error
    """A run was stopped by a signal; `exit_status` is the one by which a shell would report the signal."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(signum, message)  # what a pickled error is made again from
        self.exit_status = 128 + signum
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopSignals:
    """A context that notes the first signal as `received` (0: none); a second one has the effect that it had before.

    Outside of the main thread, where Python handles no signals, it does nothing.

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
            for signum in SIGNALS:
                self._before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        is_repeated = self.received and time.monotonic() - self._time > AS_ONE
        for process in self.forward_to:
            with suppress(ProcessLookupError):
                os.kill(process, signum)
        if is_repeated:
            self.__exit__(None, None, None)
            signal.raise_signal(signum)
        elif not self.received:
            self.received, self._time = signum, time.monotonic()


def signal_name(signum: int) -> str:
    """For example `SIGTERM`."""
    return signal.Signals(signum).name

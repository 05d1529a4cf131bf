"""One function over chunks of work in several processes: in order, few chunks on their way, no end with a process."""

import gc
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

from focalnet_d2.utils.child_processes import end_with_parent

_ON_THE_WAY = 4  # chunks for each process

Chunk = list[Any]
Done = tuple[Chunk, Any]  # a chunk and its result; None for one piece of work whose process died


class Crew:
    """Processes that work on chunks; a context, at whose end they are gone.

    Args:
        function: takes a chunk; of a module's top level, as it travels to the processes.
        workers: processes; with 1, this one works.
    """

    def __init__(self, function: Callable[[Chunk], Any], workers: int) -> None:
        self.function = function
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def map(self, chunks: Iterable[Chunk]) -> Iterator[Done]:
        """Yields every chunk with its result, in order.

        A chunk whose process dies is done again, piece by piece: the piece that kills its process comes with None.

        Raises:
            Exception: whatever the function raises.
        """
        if self.workers == 1:
            yield from ((chunk, self.function(chunk)) for chunk in chunks)
            return
        pending: deque[tuple[Chunk, Future]] = deque()
        for chunk in chunks:
            pending.append((chunk, self._submit(chunk)))
            if len(pending) >= _ON_THE_WAY * self.workers:
                yield from self._first_of(pending)
        while pending:
            yield from self._first_of(pending)

    def _first_of(self, pending: deque[tuple[Chunk, Future]]) -> Iterator[Done]:
        chunk, future = pending.popleft()
        try:
            done = chunk, future.result()
        except BrokenProcessPool:
            self._stop()
        else:
            yield done
            return
        yield from self._piece_by_piece(chunk)
        for place, (waiting, begun) in enumerate(pending):
            if begun.cancelled() or isinstance(begun.exception(), BrokenProcessPool):
                pending[place] = waiting, self._submit(waiting)

    def _piece_by_piece(self, chunk: Chunk) -> Iterator[Done]:
        for piece in chunk:
            try:
                yield [piece], self._submit([piece]).result()
            except BrokenProcessPool:
                self._stop()
                yield [piece], None

    def _submit(self, chunk: Chunk) -> Future:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, initializer=_begin)
        with suppress(BrokenProcessPool):  # noticed when the result of an earlier chunk is asked for
            return self._pool.submit(self.function, chunk)
        broken: Future = Future()
        broken.set_exception(BrokenProcessPool())
        return broken

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _begin() -> None:
    """A process leaves Ctrl-C to its parent, and ends with it."""
    gc.freeze()  # what it has from its parent is no garbage, and looking for some would copy it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()

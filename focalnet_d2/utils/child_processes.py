"""Processes that do not outlive the one that started them, and that leave signals to it."""

import multiprocessing
import os
import signal
import threading


def end_with_parent() -> None:
    """Ends this child process when its parent is gone, killed perhaps, even if it waits for ever outside of Python."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child process

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def leave_signals_to_parent(worker: int = 0) -> None:
    """Signals that go to all processes of a run do not end this one: its parent decides what becomes of it.

    It leaves the group whose processes all get a terminal's Ctrl-C, takes no note of SIGINT and SIGUSR1, and of SIGTERM
    only if the parent sends it: a batch system may send them to every process that it finds.

    Args:
        worker: number of a worker of PyTorch's `DataLoader`, which calls this as its `worker_init_fn`.
    """
    if os.name == "posix":
        os.setpgid(0, 0)
        for signum in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(signum, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # also in the threads that this one starts
        threading.Thread(target=_end_on_parents_word, args=(os.getppid(),), daemon=True).start()


def _end_on_parents_word(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # as PyTorch's own handler does

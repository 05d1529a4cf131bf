"""Processes that do not outlive the one that started them."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """Ends this child process when its parent is gone, killed perhaps, even if it waits for ever outside of Python."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child process

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def leave_process_group(worker: int = 0) -> None:
    """Takes this process out of the group whose processes all get a terminal's Ctrl-C; its parent decides what to do.

    Args:
        worker: number of a worker of PyTorch's `DataLoader`, which calls this as its `worker_init_fn`.
    """
    if os.name == "posix":
        os.setpgid(0, 0)

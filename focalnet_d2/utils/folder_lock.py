"""One process at a time works in a folder."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl  # not on Windows, where nothing is locked
except ImportError:
    fcntl = None

logger = logging.getLogger(__name__)


class FolderInUse(ValueError):  # noqa: N818 - says what is the case
    """Another process works in a folder."""


@contextmanager
def folder_lock(folder: Path, file_name: str, remedy: str, *, keep_file: bool = True) -> Iterator[None]:
    """Inside, the folder is this process's; it is made.

    The lock is the system's (POSIX record lock, which NFS knows): it ends with the process, however that ends, and
    child processes do not inherit it.

    Args:
        file_name: of the lock.
        remedy: what to do where the folder is in use, as the end of a sentence.
        keep_file: the lock's file stays when the lock ends.

    Raises:
        FolderInUse: another process works in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name
    with _locked_file(path, folder, remedy):
        try:
            yield
        finally:
            if not keep_file:
                with suppress(OSError):  # of systems that remove no file that is open
                    path.unlink()


def _locked_file(path: Path, folder: Path, remedy: str) -> IO[str]:
    """The open file, locked; opened again if whoever had the lock has removed it meanwhile."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - the caller closes it
        try:
            _lock(file, folder, remedy)
        except BaseException:
            file.close()
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()


def _lock(file: IO[str], folder: Path, remedy: str) -> None:
    if fcntl is None:
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        raise FolderInUse(f"{folder} is in use by {file.read().strip() or 'another process'}: {remedy}") from error
    except OSError as error:
        logger.warning("%s cannot be locked (%s): start no second run in it meanwhile.", folder, error.strerror)
        return
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()

"""Files and folders that appear complete or not at all, whenever the program or the machine stops."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

UNFINISHED = ".unfinished"  # ends the hidden name of a file that is being written
_KEPT = 40  # characters of a name in the hidden one: at most 160 bytes of the 255 that file systems allow


@contextmanager
def atomic_open(path: str | os.PathLike, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends without an error, and vanishes otherwise.

    Args:
        path: its folder is made.
        sync: also survive a power cut; most of the time of writing thousands of small files.

    Raises:
        OSError: it cannot be written, to a full disk perhaps; names `path` and the cause.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_path(path)
    try:
        with open(unfinished, "wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        raise_with_file(error, path)
    if sync:
        _sync_folder(path.parent)


@contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder to write into that becomes `path` when the block ends without an error, and vanishes otherwise.

    Args:
        path: nothing is there; the folders above it are made.

    Raises:
        OSError: it cannot be made.
    """
    path = Path(path)
    unfinished = unfinished_path(path)
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        os.rename(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def unfinished_path(path: Path) -> Path:
    """A hidden path beside a file for what becomes that file; no other writer has it."""
    return path.with_name(f"{_hidden_start(path)}{secrets.token_hex(8)}{UNFINISHED}")


def write_atomically(path: str | os.PathLike, content: bytes | str, *, sync: bool = False) -> None:
    """Writes a file that appears complete or not at all; text is written as UTF-8, its lines as they are.

    Bytes of a file's name that are no UTF-8 are escaped as JSON does it: `\\udcff`.

    Args:
        path, sync: see `atomic_open`; without `sync`, a file that a power cut damages has to be made again.
        content: all of the file.
    """
    with atomic_open(path, sync=sync) as file:
        file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


def remove_unfinished(folder: Path) -> None:
    """Removes the files that killed writers have left in a folder in which nobody else writes now.

    Folders stay: an export may be at work in one, beside the checkpoint that it reads.
    """
    for path in folder.glob(f".*{UNFINISHED}"):
        if not path.is_dir():
            path.unlink(missing_ok=True)


def raise_with_file(error: BaseException, path: Path) -> NoReturn:
    """Raises the error of writing a file again: as it is, or naming the file where the system did not.

    Nobody knows the hidden name of a file that is being written, so it counts as none.
    A write to an open file says "No space left on device" and not where; torch's writer hides even that behind an error
    of its own.
    """
    cause = error.__context__ if isinstance(error, RuntimeError) else error
    if not isinstance(cause, OSError) or cause.errno is None or _is_elsewhere(cause, path):
        raise error
    raise OSError(cause.errno, cause.strerror, str(path)) from error


def _is_elsewhere(error: OSError, path: Path) -> bool:
    """Whether the system has named a file that is not the unfinished one of `path`."""
    if error.filename is None:
        return False
    name = Path(os.fsdecode(error.filename)).name
    return not (name.startswith(_hidden_start(path)) and name.endswith(UNFINISHED))


def _hidden_start(path: Path) -> str:
    """What the hidden name of an unfinished file begins with: no longer than any name may be that the path may have."""
    return f".{path.name[:_KEPT]}."


def _sync_folder(folder: Path) -> None:
    """Makes the renaming itself survive a power cut, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

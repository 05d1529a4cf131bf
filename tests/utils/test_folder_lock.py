"""The lock of a folder: other processes are refused, and it leaves nothing behind unless it is to stay."""

import multiprocessing
import os
from pathlib import Path

import pytest

from focalnet_d2.utils.folder_lock import folder_lock


def in_another_process(folder: Path) -> str:
    """What a process that wants the lock is told; "" if it gets it."""
    reader, writer = multiprocessing.get_context("fork").Pipe(duplex=False)
    if (child := os.fork()) == 0:
        try:
            with folder_lock(folder, "lock", "wait.", keep_file=False):
                writer.send("")
        except ValueError as error:
            writer.send(str(error))
        os._exit(0)
    os.waitpid(child, 0)
    return reader.recv()


@pytest.mark.parametrize("keep_file", [True, False])
def test_one_process_at_a_time(tmp_path: Path, keep_file: bool):
    folder = tmp_path / "new"
    with folder_lock(folder, "lock", "wait.", keep_file=keep_file):
        assert in_another_process(folder).startswith(f"{folder} is in use by process {os.getpid()} on ")
        assert (folder / "lock").is_file()
    assert (folder / "lock").is_file() is keep_file
    assert in_another_process(folder) == ""


def test_an_error_ends_it(tmp_path: Path):
    with pytest.raises(KeyError), folder_lock(tmp_path, "lock", "wait.", keep_file=False):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    assert in_another_process(tmp_path) == ""

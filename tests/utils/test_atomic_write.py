"""Files that are replaced as a whole, or left as they were."""

import json
import os
import resource
from contextlib import contextmanager

import pytest
import torch

from focalnet_d2.checkpoint import save_checkpoint
from focalnet_d2.utils.atomic_write import atomic_open, remove_unfinished, unfinished_path, write_atomically


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_appears_when_the_block_ends(tmp_path, sync):
    path = tmp_path / "new" / "file.bin"
    with atomic_open(path, sync=sync) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b"whole")
    assert path.read_bytes() == b"halfwhole"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_an_error_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def write_half():
        with atomic_open(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file.bin"
    with atomic_open(path) as slow:
        slow.write(b"slow, ")
        write_atomically(path, b"fast")
        slow.write(b"the last to end")
    assert path.read_bytes() == b"slow, the last to end"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("sync", [True, False])
def test_text_is_written_as_utf_8(tmp_path, sync):
    write_atomically(tmp_path / "new" / "file.txt", "größe\n", sync=sync)
    assert (tmp_path / "new" / "file.txt").read_bytes() == "größe\n".encode()


@contextmanager
def files_of_at_most(size: int):
    """A limit of this process, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("numbers", [10, 100_000])  # torch's writer notices it at the end, or with an error of its own
def test_a_full_disk_is_one_error_with_the_file(tmp_path, numbers):
    path = tmp_path / "model.pth"
    with pytest.raises(OSError, match=rf"too large.*{path.name}") as error, files_of_at_most(200):
        save_checkpoint(path, {"a": torch.zeros(numbers)})
    assert error.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_atomically(tmp_path / "folder", b"content")
    assert str(tmp_path / "folder") in str(error.value)
    assert "unfinished" not in str(error.value)


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), atomic_open(tmp_path / "file.bin"):
        (tmp_path / "other").read_bytes()
    with pytest.raises(RuntimeError, match="ours"), atomic_open(tmp_path / "file.bin"):
        raise RuntimeError("ours")


def test_what_killed_writers_have_left_is_removed(tmp_path):
    writer = atomic_open(tmp_path / "model.pth")
    writer.__enter__()
    left = list(tmp_path.iterdir())
    (tmp_path / "notes.unfinished").touch()
    (tmp_path / ".hidden").touch()
    remove_unfinished(tmp_path)
    assert len(left) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "notes.unfinished"]


@pytest.mark.parametrize("name", ["n" * 255, "漢" * 85])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path, name):
    write_atomically(tmp_path / name, "whole")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_the_one_in_the_message(tmp_path):
    path = tmp_path / ("n" * 256)
    with pytest.raises(OSError, match="File name too long") as raised:
        write_atomically(path, "whole")
    assert raised.value.filename == str(path)


def test_names_of_any_bytes_can_be_in_a_text(tmp_path):
    """As JSON reads them back."""
    name = os.fsdecode(b"\xff.png")
    write_atomically(tmp_path / "a.json", json.dumps([name], ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == [name]


def test_folders_that_look_unfinished_stay(tmp_path):
    for name in ("a", "n" * 200):
        unfinished_path(tmp_path / name).touch()
    export = unfinished_path(tmp_path / "model.onnx")
    export.mkdir()
    remove_unfinished(tmp_path)
    assert list(tmp_path.iterdir()) == [export]

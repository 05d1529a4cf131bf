"""Files that are replaced as a whole, or left as they were."""

import pytest

from focalnet_d2.utils.atomic_write import atomic_open, write_atomically


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

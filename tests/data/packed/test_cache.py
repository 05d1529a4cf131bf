"""A block of the cache is that of its file, and no trouble with the cache is any with the data."""

import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from focalnet_d2.data.packed import cache
from focalnet_d2.data.packed.block import Block, BlockWriter


class Maker:
    """Writes blocks that hold the text of a file, and counts them."""

    def __init__(self, source):
        self.source = source
        self.calls = 0

    def __call__(self, sink):
        self.calls += 1
        writer = BlockWriter(sink)
        writer.add("numbers", np.arange(2000.0))
        writer.finish({"text": self.source.read_text()})


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text("one")
    return path


def text_of(source, make):
    block = cache.cached_block(source, make)
    assert block["numbers"].tolist() == list(range(2000))
    return block.facts["text"]


def test_the_second_start_maps_what_the_first_has_left(source, own_cache):
    make = Maker(source)
    assert [text_of(source, make) for _ in range(3)] == ["one"] * 3
    assert make.calls == 1
    assert cache.cached_block(source, make).is_mapped
    assert len(list(own_cache.glob("*.records"))) == 1


def test_another_content_of_the_same_size_and_time_is_another_block(source):
    make = Maker(source)
    text_of(source, make)
    times = os.stat(source)
    source.write_text("two")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert text_of(source, make) == "two"


def test_a_file_of_the_same_content_elsewhere_shares_the_block(source, tmp_path):
    make = Maker(source)
    text_of(source, make)
    (tmp_path / "copy.json").write_text("one")
    assert text_of(tmp_path / "copy.json", make) == "one"
    assert make.calls == 1


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:50] + b"x" + b[51:], lambda b: b + b"x"]
)
def test_a_damaged_block_is_made_anew(source, own_cache, caplog, damage):
    make = Maker(source)
    text_of(source, make)
    (path,) = own_cache.glob("*.records")
    path.write_bytes(damage(path.read_bytes()))
    assert text_of(source, make) == "one"
    assert make.calls == 2
    assert f"{path} is damaged; it is made anew" in caplog.text
    assert text_of(source, make) == "one"
    assert make.calls == 2


def test_without_a_folder_the_block_is_in_memory(source, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert text_of(source, Maker(source)) == "one"
    assert len(caplog.messages) == 1
    assert "are not kept for the next start" in caplog.messages[0]


def test_a_full_disk_is_no_error(source, own_cache, monkeypatch, caplog):
    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache._Hashed, "write", full)
    assert text_of(source, Maker(source)) == "one"
    assert "No space left on device" in caplog.text
    assert list(own_cache.glob("*.records*")) == []


def test_the_cache_can_be_switched_off(source, own_cache, monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_RECORDS_CACHE", "0")
    make = Maker(source)
    assert [text_of(source, make) for _ in range(2)] == ["one"] * 2
    assert make.calls == 2
    assert not own_cache.exists()


def test_what_cannot_be_made_leaves_nothing(source, own_cache):
    def fail(sink):
        sink.write(b"half")
        raise ValueError("no such list")

    with pytest.raises(ValueError, match="no such list"):
        cache.cached_block(source, fail)
    assert [path.suffix for path in own_cache.iterdir()] == [".lock"]


def test_a_file_that_changes_while_it_is_read_is_not_kept(source, own_cache):
    def changed_meanwhile(sink):
        source.write_text("changed")
        Maker(source)(sink)

    assert text_of(source, changed_meanwhile) == "changed"
    assert list(own_cache.glob("*.records")) == []


def test_the_blocks_that_were_used_last_stay(source, own_cache, monkeypatch):
    make = Maker(source)
    for number, text in enumerate("abc"):
        source.write_text(text)
        text_of(source, make)
        for path in own_cache.glob("*.records"):
            if path.stat().st_mtime > 1000:
                os.utime(path, (number, number))
    source.write_text("a")
    text_of(source, make)  # touches it
    monkeypatch.setattr(cache, "LIMIT", 3 * 17_000)
    source.write_text("d")
    text_of(source, make)
    assert make.calls == 4
    for text in "ad":
        source.write_text(text)
        text_of(source, make)
    assert make.calls == 4
    source.write_text("b")
    text_of(source, make)
    assert make.calls == 5


def test_who_comes_while_a_block_is_made_waits_for_it(source, own_cache):
    fcntl = pytest.importorskip("fcntl")
    together, make, locked = threading.Barrier(4), Maker(source), []

    def make_alone(sink):
        (lock,) = own_cache.glob(".*.lock")
        with open(lock, "wb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked.append(lock)
        make(sink)

    def start(_):
        together.wait()
        return text_of(source, make_alone)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == ["one"] * 4
    assert (make.calls, len(locked)) == (1, 1)


def start_and_note(source, notes):
    """What a process that starts on a file finds, which notes that it made the block."""

    def make(sink):
        with open(notes, "a") as file:
            file.write("made\n")
        Maker(source)(sink)

    block = cache.cached_block(source, make)
    return block.facts["text"], block.is_mapped


def test_processes_that_start_at_once_make_one_block_and_a_changed_file_another(source, own_cache, tmp_path):
    pytest.importorskip("fcntl")
    notes = tmp_path / "notes"
    with ProcessPoolExecutor(4, get_context("fork")) as pool:
        for text in ("one", "two"):
            source.write_text(text)
            started = [pool.submit(start_and_note, source, notes) for _ in range(4)]
            assert [one.result() for one in started] == [(text, True)] * 4
    assert notes.read_text() == "made\n" * 2
    assert len(list(own_cache.glob("*.records"))) == 2


@pytest.mark.parametrize(
    "change",
    [
        (b'"<f8", 0, 2000', b'"<f8", 0, 9999'),
        (b'"<f8", 0, 2000', b'"<f8",-8, 2000'),
        (b'"<f8"', b'"<O8"'),
        (b'"columns"', b'"colunms"'),
        (b'{"facts"', b'["facts"'),
    ],
)
def test_a_block_is_not_trusted(source, change):
    content = bytes(cache.block_in_memory(Maker(source)).content.numpy())
    assert change[0] in content
    with pytest.raises(ValueError, match="no block of columns"):
        Block(torch.tensor(list(content.replace(*change)), dtype=torch.uint8))
    with pytest.raises(ValueError, match="no block of columns"):
        Block(torch.zeros(5, dtype=torch.uint8))

"""Sources compiled on first use: made once, kept, made anew when damaged, and never in the way."""

import ctypes
import logging
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from focalnet_d2.kernels import compiler
from focalnet_d2.kernels.compiler import CompiledLibrary, cache_folder, load_cached, processor

ANSWER = 'extern "C" int answer() { return 42; }\n'


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A source, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FOCALNET_D2_COMPILE", raising=False)
    path = tmp_path / "answer.cpp"
    path.write_text(ANSWER, encoding="utf-8")
    return path


@pytest.fixture
def compiling(source):
    """Skips where nothing can be compiled."""
    library = CompiledLibrary(source)
    if library.load() is None:
        pytest.skip(library.unavailable_reason())
    return library


def count_compilations(monkeypatch) -> list:
    calls, run = [], subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: calls.append(args) or run(*args, **kwargs))
    return calls


def test_library_is_compiled_once_and_kept(compiling, source, monkeypatch):
    assert compiling.load().answer() == 42
    assert compiling.unavailable_reason() == ""
    calls = count_compilations(monkeypatch)
    assert CompiledLibrary(source).load().answer() == 42
    assert calls == []
    assert sorted(path.suffix for path in cache_folder().iterdir()) == [".sha256", ".so"]


def test_another_source_makes_another_library(compiling, source):
    source.write_text(ANSWER.replace("42", "43"), encoding="utf-8")
    assert CompiledLibrary(source).load().answer() == 43
    assert len(list(cache_folder().glob("*.so"))) == 2


DAMAGES = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a page of zeros": lambda content: content[:4096] + bytes(4096) + content[8192:],
    "one bit": lambda content: content[:-100] + bytes([content[-100] ^ 1]) + content[-99:],
}


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_library_is_never_loaded_but_made_anew(source, damage, monkeypatch):
    (path,) = cache_folder().glob("*.so")
    right = path.read_bytes()
    path.unlink()  # this process has mapped it
    path.write_bytes(DAMAGES[damage](right))
    path.chmod(0o700)
    loaded, load = [], ctypes.CDLL
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(name) or load(name))
    assert CompiledLibrary(source).load().answer() == 42
    assert str(path) not in loaded
    assert path.read_bytes() == right
    loaded.clear()
    assert CompiledLibrary(source).load().answer() == 42
    assert loaded == [str(path)]


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("record", [None, b"", b"\xff", b"12 abc\n"])
def test_library_without_its_record_is_made_anew(source, record, monkeypatch):
    (path,) = cache_folder().glob("*.sha256")
    right = path.read_bytes()
    path.unlink()
    if record is not None:
        path.write_bytes(record)
    calls = count_compilations(monkeypatch)
    assert CompiledLibrary(source).load().answer() == 42
    assert len(calls) >= 1
    assert path.read_bytes() == right


@pytest.mark.usefixtures("compiling")
def test_library_that_others_may_change_or_a_link_is_made_anew(source, tmp_path):
    (path,) = cache_folder().glob("*.so")
    path.chmod(0o770)
    assert load_cached(path) is None
    assert CompiledLibrary(source).load().answer() == 42
    assert path.stat().st_mode & 0o777 == 0o700
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    assert load_cached(path) is None
    assert CompiledLibrary(source).load().answer() == 42
    assert not path.is_symlink()


@pytest.mark.usefixtures("compiling")
def test_cache_is_of_use_whatever_the_umask(source, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fresh"))
    before = os.umask(0o002)
    try:
        assert CompiledLibrary(source).load().answer() == 42
        calls = count_compilations(monkeypatch)
        assert CompiledLibrary(source).load().answer() == 42
    finally:
        os.umask(before)
    assert calls == []
    assert caplog.records == []
    assert (tmp_path / "fresh" / "focalnet_d2").stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("compiling")
def test_a_cache_that_is_off_is_said_once(source, caplog):
    cache_folder().chmod(0o775)
    for _ in range(2):
        assert CompiledLibrary(source).load().answer() == 42
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "others may write into" in record.getMessage()
    assert "chmod go-w" in record.getMessage()


@pytest.mark.parametrize("script", ["exit 0", 'touch "$PWD/core"; for last; do :; done; echo garbage > "$last"'])
def test_a_compiler_that_leaves_garbage_leaves_nothing_behind(source, tmp_path, monkeypatch, script):
    fake = tmp_path / "c++"
    fake.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("CXX", str(fake))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    library = CompiledLibrary(source)
    assert library.load() is None
    if os.name == "posix":
        assert "fails" in library.unavailable_reason()
        assert list(cache_folder().iterdir()) == list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.usefixtures("compiling")
@pytest.mark.parametrize("base", ["file/below", "relative", "shared"])
def test_cache_folder_that_is_no_use_is_replaced(base, source, tmp_path, monkeypatch):
    """A folder that cannot be made, that depends on where one stands, or that others may write to."""
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    (tmp_path / "shared" / "focalnet_d2").mkdir(parents=True)
    (tmp_path / "shared" / "focalnet_d2").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", base if base == "relative" else str(tmp_path / base))
    monkeypatch.setenv("HOME", "relative")  # where a relative cache folder is ignored
    assert CompiledLibrary(source).load().answer() == 42
    assert list((tmp_path / "shared" / "focalnet_d2").iterdir()) == []
    assert not os.path.exists("relative")


def test_switched_off_and_on_again(compiling, monkeypatch):
    monkeypatch.setenv("FOCALNET_D2_COMPILE", "0")
    assert compiling.load() is None
    assert compiling.unavailable_reason() == "FOCALNET_D2_COMPILE=0"
    monkeypatch.delenv("FOCALNET_D2_COMPILE")
    assert compiling.load().answer() == 42


def test_no_compiler(source, monkeypatch):
    monkeypatch.setenv("PATH", str(source.parent))
    monkeypatch.delenv("CXX", raising=False)
    library = CompiledLibrary(source)
    assert library.load() is None
    assert library.unavailable_reason() in ("no C++ compiler found", "only on Linux and macOS")


@pytest.mark.usefixtures("compiling")
def test_failing_compiler_is_asked_once_and_named_once(source, monkeypatch, caplog):
    source.write_text("this is not C++\n", encoding="utf-8")
    library = CompiledLibrary(source)
    calls = count_compilations(monkeypatch)
    with caplog.at_level(logging.INFO, logger=compiler.__name__):
        assert [library.load() for _ in range(3)] == [None] * 3
    tried = len(compiler.PROCESSOR_FLAGS)
    assert len(calls) == 2 * tried  # cache folder, temporary folder
    assert len(caplog.records) == 1
    assert "answer.cpp" in caplog.text
    assert "fails" in library.unavailable_reason()
    assert {path.suffix for path in cache_folder().iterdir()} == {".so", ".sha256"}  # of another source


def test_threads_compile_once(compiling, source, monkeypatch):
    source.write_text(ANSWER.replace("42", "44"), encoding="utf-8")
    library, calls = CompiledLibrary(source), count_compilations(monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: library.load().answer(), range(4)))
    assert found == [44] * 4
    assert len(calls) <= len(compiler.PROCESSOR_FLAGS)


@pytest.mark.usefixtures("compiling")
def test_processes_compile_at_the_same_time(source):
    source.write_text(ANSWER.replace("42", "45"), encoding="utf-8")
    code = (
        "import importlib.util, pathlib, sys\n"
        "spec = importlib.util.spec_from_file_location('compiled_library', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(module.CompiledLibrary(pathlib.Path(sys.argv[2])).load().answer())\n"
    )
    command = [sys.executable, "-c", code, compiler.__file__, str(source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=300)[0].strip() for process in running] == ["45"] * 3
    assert len(list(cache_folder().glob("*.so"))) == 2
    assert len(list(cache_folder().iterdir())) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_does_not_wait_for_a_lock_of_its_parent(compiling, source):
    library = CompiledLibrary(source)
    with library._lock:
        child = os.fork()
        if child == 0:
            os._exit(library.load().answer())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


def test_processors_differ_by_their_instructions(tmp_path):
    files = [tmp_path / name for name in ("old", "new", "faster")]
    for path, flags, speed in zip(files, ("avx2", "avx2 avx512f", "avx2"), (1000, 1000, 2000), strict=True):
        path.write_text(f"model\t: 2\nflags\t: {flags}\ncpu MHz\t: {speed}\n\nmodel\t: 2\n", encoding="utf-8")
    old, new, faster = (list(processor(path)) for path in files)
    assert old != new
    assert old == faster
    assert list(processor(tmp_path / "absent"))

"""Sources compiled on first use: made once, kept, made anew when damaged, and never in the way."""

import ctypes
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from focalnet_d2.kernels import compiler
from focalnet_d2.kernels.compiler import CompiledLibrary, cache_folder, processor

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
    assert [path.suffix for path in cache_folder().iterdir()] == [".so"]


def test_another_source_makes_another_library(compiling, source):
    source.write_text(ANSWER.replace("42", "43"), encoding="utf-8")
    assert CompiledLibrary(source).load().answer() == 43
    assert len(list(cache_folder().iterdir())) == 2


def test_damaged_library_is_made_anew(source, monkeypatch):
    library = CompiledLibrary(source)
    loaded = []

    def load_nothing(path):
        loaded.append(path)
        raise OSError("file too short")

    with monkeypatch.context() as patched:
        patched.setattr(ctypes, "CDLL", load_nothing)
        assert library.load() is None
    if not loaded:
        pytest.skip(library.unavailable_reason())
    (path,) = cache_folder().iterdir()
    path.write_bytes(b"")
    assert CompiledLibrary(source).load().answer() == 42
    assert path.stat().st_size > 0


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
    assert [path for path in cache_folder().iterdir() if "unfinished" in path.name] == []


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
    assert len(list(cache_folder().iterdir())) == 2


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

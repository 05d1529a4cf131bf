"""C++ sources of this package, compiled on first use where a compiler is there; nothing needs them.

A library is kept in the user's cache folder under a name that carries a hash of source, compiler, flags and processor,
so a change of any of them makes a new one. Where the folder cannot be used, a private temporary one serves the
process. `FOCALNET_D2_COMPILE=0` turns all of it off.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from focalnet_d2.utils.user_cache import user_cache

SWITCH = "FOCALNET_D2_COMPILE"
COMPILERS = ("c++", "g++", "clang++")  # after $CXX
# No -ffast-math: sums keep their order, and NaNs stay NaNs.
COMMON_FLAGS = ("-std=c++14", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
PROCESSOR_FLAGS = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ())
TIMEOUT = 120  # seconds that one compilation may take

logger = logging.getLogger(__name__)


class CompiledLibrary:
    """One source file and the library made from it.

    Args:
        source: the C++ file; its exported functions have C names.
    """

    def __init__(self, source: Path):
        self.source = source
        self._library: ctypes.CDLL | None = None
        self._unavailable_reason = ""
        self._tried = False
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    @torch.compiler.assume_constant_result
    def load(self) -> ctypes.CDLL | None:
        """The library, or None where there is none; compiled or found in the cache once in a process."""
        if os.environ.get(SWITCH) == "0":
            return None
        if not self._tried:
            with self._lock:
                if not self._tried:
                    self._library = self._make()
                    self._tried = True
        return self._library

    def function(self, name: str) -> Callable[..., None]:
        """A function of the library, which must be there, that returns nothing."""
        function = getattr(self.load(), name)
        function.restype = None
        return function

    def unavailable_reason(self) -> str:
        """Why `load` gives None, in one line; empty when it gives the library."""
        if self.load() is not None:
            return ""
        return f"{SWITCH}=0" if os.environ.get(SWITCH) == "0" else self._unavailable_reason

    def _renew_lock(self) -> None:
        """Another thread may have held it when the process was forked."""
        self._lock = threading.Lock()

    def _make(self) -> ctypes.CDLL | None:
        try:
            return load_or_compile(self.source)
        except (OSError, subprocess.SubprocessError) as error:
            self._unavailable_reason = " ".join(str(error).split())[:300]
            message = "%s is not compiled, another implementation takes its place: %s"
            logger.info(message, self.source.name, self._unavailable_reason)
            return None


def load_or_compile(source: Path) -> ctypes.CDLL:
    """The library of a source, from the cache folder or else from a temporary one.

    Raises:
        OSError: not a system for it, no compiler, or one that fails.
        subprocess.SubprocessError: a compiler that does not end.
    """
    if os.name != "posix":
        raise OSError("only on Linux and macOS")
    compiler = find_compiler()
    name = f"{source.stem}-{fingerprint(source, compiler)}.so"
    with contextlib.suppress(OSError):  # read-only, full, or not for programs: the temporary folder may do
        path = cache_folder() / name
        if path.is_file():
            with contextlib.suppress(OSError):  # damaged: made anew
                return ctypes.CDLL(str(path))
        compile_library(source, compiler, path)
        return ctypes.CDLL(str(path))
    with tempfile.TemporaryDirectory(prefix="focalnet_d2_") as folder:
        path = Path(folder) / name
        compile_library(source, compiler, path)
        return ctypes.CDLL(str(path))  # stays mapped when the file is gone


def find_compiler() -> str:
    """Path of the first C++ compiler.

    Raises:
        FileNotFoundError: none.
    """
    for name in (os.environ.get("CXX"), *COMPILERS):
        if name and (path := shutil.which(name)):
            return path
    raise FileNotFoundError("no C++ compiler found")


def fingerprint(source: Path, compiler: str) -> str:
    """Hash of all that decides what the library holds, the instruction sets of this processor included."""
    real = os.path.realpath(compiler)
    about = os.stat(real)
    parts = (compiler, real, about.st_size, about.st_mtime_ns, COMMON_FLAGS, PROCESSOR_FLAGS, *processor())
    return hashlib.sha256(source.read_bytes() + repr(parts).encode()).hexdigest()[:24]


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterator[str]:
    """What tells apart two processors that need not have the same instructions."""
    yield from (platform.system(), platform.machine(), platform.processor())
    if not cpuinfo.is_file():
        yield platform.node()
        return
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines():
        key = line.partition(":")[0].strip()
        if key in ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part"):
            yield line


def cache_folder() -> Path:
    """The folder of compiled libraries, made if need be; nobody else may write there.

    Raises:
        OSError: it cannot be made, or others could put a library of theirs into it.
    """
    folder = user_cache()
    if not folder.is_absolute():
        raise OSError(f"{folder} is not an absolute path")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder} is open to others")
    return folder


def compile_library(source: Path, compiler: str, path: Path) -> None:
    """Compiles for this processor; `path` appears complete or not at all, however many processes make it.

    Raises:
        OSError: the compiler fails with every set of flags, or the folder cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
    try:
        unfinished.touch(exist_ok=False)
        for flags in PROCESSOR_FLAGS:
            command = [compiler, *COMMON_FLAGS, *flags, str(source), "-o", str(unfinished)]
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, stdin=subprocess.DEVNULL
            )
            if done.returncode == 0:
                os.replace(unfinished, path)
                return
        raise OSError(f"{compiler} fails: {done.stderr or done.returncode}")
    finally:
        unfinished.unlink(missing_ok=True)


def steps(length: int, parts: int) -> list[int]:
    """0 to `length` in up to `parts` steps of nearly one size, at least one."""
    parts = max(1, min(parts, length))
    return [length * part // parts for part in range(parts + 1)]


def run_all(run: Callable[..., None], parts: Iterable[tuple[int, ...]]) -> None:
    """Calls `run` for each part, in as many threads as torch may take when there are several.

    The threads are Python's: ctypes lets go of the interpreter while a library works, no second OpenMP is loaded, and a
    forked process starts threads of its own.
    """
    parts = list(parts)
    workers = min(len(parts), torch.get_num_threads())
    if workers < 2:
        for part in parts:
            run(*part)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda part: run(*part), parts))

"""C++ sources of this package, compiled on first use where a compiler is there; nothing needs them.

A library is kept in the user's cache folder under a name that carries a hash of source, compiler, flags and processor,
so a change of any of them makes a new one. Its size and digest stand beside it and are compared before it is loaded:
a damaged library can end the process without a word, so one that differs is compiled anew. Where the folder cannot be
used, a private temporary one serves the process. `FOCALNET_D2_COMPILE=0` turns all of it off.
"""

import contextlib
import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import torch

from focalnet_d2.utils.atomic_write import write_atomically
from focalnet_d2.utils.user_cache import make_user_cache

SWITCH = "FOCALNET_D2_COMPILE"
COMPILERS = ("c++", "g++", "clang++")  # after $CXX
# No -ffast-math: sums keep their order, and NaNs stay NaNs.
COMMON_FLAGS = ("-std=c++14", "-O3", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
PROCESSOR_FLAGS = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ("-mcpu=native",), ())
TIMEOUT = 120  # seconds that one compilation may take
OTHERS_WRITE = 0o022  # bits of a mode

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
    try:  # read-only, full, open to others, or not for programs: the temporary folder may do
        path = cache_folder() / name
        return load_cached(path) or compile_library(source, compiler, path)
    except OSError as error:
        reason = " ".join(str(error).split())[:300]
    with tempfile.TemporaryDirectory(prefix="focalnet_d2_") as folder:
        library = compile_library(source, compiler, Path(folder) / name)  # stays mapped when the file is gone
    _say_cache_is_off(reason)
    return library


@lru_cache
def _say_cache_is_off(reason: str) -> None:
    """Once for each reason."""
    logger.warning("Compiled libraries are not kept, each process compiles its own: %s.", reason)


def load_cached(path: Path) -> ctypes.CDLL | None:
    """The library of the cache; None where there is none, or one that is damaged or that others may change."""
    if not _is_ours(path) or _read_record(path) != _record(path):
        return None
    with contextlib.suppress(OSError):
        return ctypes.CDLL(str(path))
    return None


def _is_ours(path: Path) -> bool:
    """Whether a file is there, no link, and nobody but this user may change it."""
    with contextlib.suppress(OSError):
        about = path.lstat()
        return stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & OTHERS_WRITE
    return False


def _record(path: Path) -> str:
    """Size and digest of a file in one line."""
    content = path.read_bytes()
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}\n"


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _read_record(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _record_path(path).read_text(encoding="ascii")
    return ""


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
    folder = make_user_cache()
    about = folder.stat()
    if about.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    if about.st_mode & OTHERS_WRITE:
        raise PermissionError(f"others may write into {folder} (chmod go-w ends that)")
    return folder


def compile_library(source: Path, compiler: str, path: Path) -> ctypes.CDLL:
    """Compiles for this processor and loads; `path` appears complete or not at all, however many processes make it.

    The compiler works in a folder of its own next to `path`, which is gone afterwards with all that it left. What
    cannot be loaded does not count as compiled.

    Raises:
        OSError: the compiler fails with every set of flags, or the folder cannot be written.
    """
    reason = ""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        made = Path(folder) / path.name
        for flags in PROCESSOR_FLAGS:
            reason = _compile([compiler, *COMMON_FLAGS, *flags, str(source.resolve()), "-o", str(made)], folder)
            if reason:
                continue
            try:
                library = ctypes.CDLL(str(made))
            except OSError as error:
                reason = str(error)
                continue
            _keep(made, path)
            return library
    raise OSError(f"{compiler} fails: {reason}")


def _compile(command: list[str], folder: str) -> str:
    """Run a compiler; what it says when it fails, empty when it does not."""
    done = subprocess.run(
        command,
        capture_output=True,
        cwd=folder,
        errors="replace",
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=TIMEOUT,
    )
    return "" if done.returncode == 0 else done.stderr or str(done.returncode)


def _keep(made: Path, path: Path) -> None:
    """Move a finished library to its place, readable for its user alone, and its record after it."""
    made.chmod(0o700)
    with open(made, "rb") as file:
        os.fsync(file.fileno())
    record = _record(made)
    os.replace(made, path)
    write_atomically(_record_path(path), record, sync=True)


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

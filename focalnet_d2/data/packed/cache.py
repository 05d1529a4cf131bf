"""Blocks that were made before, in the folder of this user: `$XDG_CACHE_HOME/focalnet_d2/records`.

A block is found again by the content of the file that it was made of and of the code that made it, never by name or
time; or by the key that its maker gives. It ends with the SHA-256 of all its bytes and is made anew where they differ.
Processes that want the same block at once, such as the ranks of a run, wait for the first of them and map its file.
Whatever goes wrong with the folder costs the time to make the block, and one line of the log.
`FOCALNET_D2_RECORDS_CACHE=0` switches the cache off.
"""

import hashlib
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import torch

from focalnet_d2.utils.atomic_write import UNFINISHED, atomic_open
from focalnet_d2.utils.user_cache import make_user_cache

from .block import Block, Sink, mapped_bytes
from .columns import FORMAT

SWITCH = "FOCALNET_D2_RECORDS_CACHE"
LIMIT = 8 << 30  # bytes of all blocks; the oldest are removed

_SUFFIX = ".records"
_DIGEST = hashlib.sha256().digest_size
_AT_ONCE = 1 << 20  # bytes

Make = Callable[[Sink], None]

logger = logging.getLogger(__name__)


def cached_block(source: str | Path, make: Make) -> Block:
    """The block of a file: from the cache if it is there, else made and left there.

    Args:
        source: the file.
        make: writes the block.

    Raises:
        OSError: the file cannot be read.
        Exception: what `make` raises; nothing is left then.
    """
    return kept_block(str(source), lambda: _key(source), lambda: _state(source), make)


def kept_block(name: str, key: Callable[[], str], state: Callable[[], object], make: Make) -> Block:
    """The block of a key: from the cache if it is there, else made and left there.

    Args:
        name: of what it is made of, for messages.
        key: gives what it is called in the cache, of letters and digits.
        state: what changes when somebody writes to what it is made of; a block that was made meanwhile is not kept.
        make: writes the block.

    Raises:
        OSError: what it is made of cannot be read.
        Exception: what `make` raises; nothing is left then.
    """
    if os.environ.get(SWITCH) == "0":
        return block_in_memory(make)
    before, called = state(), key()
    try:
        folder = make_user_cache() / "records"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{called}{_SUFFIX}"
        with _alone(folder / f".{called}.lock"):
            block = _read(path)
            if block is None:
                block = _written(path, make)
                if state() != before:
                    path.unlink(missing_ok=True)
            return block
    except OSError as error:
        logger.warning("The records of %s are not kept for the next start: %s", name, error)
        return block_in_memory(make)


def block_in_memory(make: Make) -> Block:
    """The block that `make` writes, in memory of this process."""
    sink = io.BytesIO()
    make(sink)
    return Block(torch.frombuffer(sink.getbuffer(), dtype=torch.uint8))


def _key(source: str | Path) -> str:
    """What a block depends on: the content of the file, and the code that reads it."""
    digest = hashlib.sha256(str(FORMAT).encode())
    data = Path(__file__).parents[1]
    kernels = data.parent / "kernels"
    sources = [*data.glob("annotations/*.py"), *data.glob("packed/*.py"), *kernels.glob("box_annotations.*")]
    for path in sorted([*sources, data / "instance_dicts.py"]):
        with suppress(OSError):  # without sources, `FORMAT` alone stands for the code
            digest.update(path.read_bytes())
    _add_content(digest, Path(source))
    return digest.hexdigest()[:32]


def _add_content(digest: "hashlib._Hash", path: Path, end: int | None = None) -> None:
    """Adds the bytes of a file, all or those before a place."""
    with open(path, "rb", buffering=0) as file:
        while part := file.read(_AT_ONCE if end is None else min(_AT_ONCE, end - file.tell())):
            digest.update(part)


def _read(path: Path) -> Block | None:
    """A block that is whole, mapped into memory; None where there is none."""
    try:
        size = path.stat().st_size - _DIGEST
    except FileNotFoundError:
        return None
    digest = hashlib.sha256()
    _add_content(digest, path, max(size, 0))
    with open(path, "rb") as file:
        file.seek(max(size, 0))
        whole = file.read() == digest.digest()
    if not whole:
        logger.warning("%s is damaged; it is made anew.", path)
        return None
    os.utime(path)
    return _mapped(path, size)


def _mapped(path: Path, size: int) -> Block:
    return Block(mapped_bytes(path, size), is_mapped=True)


def _state(path: str | Path) -> tuple[int, ...]:
    """What changes when somebody writes to a file while it is read."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _written(path: Path, make: Make) -> Block:
    """A new block and its file."""
    for leftover in path.parent.glob(f".{path.name}.*{UNFINISHED}"):  # of a process that was killed; nobody else writes
        leftover.unlink(missing_ok=True)
    with atomic_open(path, sync=False) as file:
        hashed = _Hashed(file)
        make(hashed)
        size = file.tell()
        file.write(hashed.digest.digest())
    block = _mapped(path, size)
    _remove_oldest(path.parent)
    return block


class _Hashed:
    """Writes to a file and sums up what is written."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes | memoryview, /) -> int:
        self.digest.update(content)
        return self.file.write(content)


def _remove_oldest(folder: Path) -> None:
    """Keeps the folder within `LIMIT`, with the blocks that were used last."""
    blocks = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # another process has removed it
            blocks.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    total = 0
    for _, size, path in sorted(blocks, reverse=True):
        total += size
        if total > LIMIT:
            path.unlink(missing_ok=True)
            path.with_name(f".{path.stem}.lock").unlink(missing_ok=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other process is in this block with the same path, where files can be locked (not on Windows)."""
    try:
        import fcntl  # Windows has none
    except ImportError:
        yield
        return
    with open(path, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

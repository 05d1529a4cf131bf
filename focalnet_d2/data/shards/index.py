"""Where in the shards of a folder each file is: made once from their headers, kept in the user's cache.

A shard is a tar archive whose name ends in a number of five or six digits, as WebDataset's tools write them
(`train-000000.tar`, `00000.tar`). Its files are those that unpacking it in its folder would give. The index is made
anew when the name, size or time of a shard changes.
"""

import hashlib
import logging
import os
import re
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from focalnet_d2.utils.temporary_table import TemporaryTable
from focalnet_d2.utils.text import plural

from .archive import archived_files

if TYPE_CHECKING:
    from ..packed.block import Block, Sink  # for types alone: it imports torch

SHARD_NAME = re.compile(r"(?:.*[^0-9])?[0-9]{5,6}\.tar(\.\w+)?")  # with what compression appends, to refuse it
_SETTLED = 1_000_000_000  # nanoseconds after which another change of a folder has another time

logger = logging.getLogger(__name__)


class Shard(NamedTuple):
    """A shard as it was when it was looked at.

    Attributes:
        path: absolute.
        size: bytes.
        changed: time of the last change, in nanoseconds.
    """

    path: str
    size: int
    changed: int


class Member(NamedTuple):
    """A file in a shard: its bytes begin at `offset`."""

    shard: Shard
    offset: int
    size: int


class ShardIndex:
    """The files in the shards of one folder.

    Args:
        shards: of the folder.
        block: the columns `names` (texts, sorted), `shards`, `offsets` and `sizes`, each (N,).
    """

    def __init__(self, shards: tuple[Shard, ...], block: "Block") -> None:
        self.shards, self._block = shards, block

    def __len__(self) -> int:
        return len(self._block["offsets"])

    def find(self, name: str) -> Member | None:
        """A file by its path below the folder, with "/"; None where there is none."""
        place = self._place(name)
        if place == len(self) or self.name(place) != name:
            return None
        shard, offset, size = (int(self._block[column][place]) for column in ("shards", "offsets", "sizes"))
        return Member(self.shards[shard], offset, size)

    def below(self, folder: str) -> Iterator[str]:
        """Paths of the files in and below a folder, relative to that of the shards, sorted; "" is that folder."""
        start = f"{folder}/" if folder else ""
        for place in range(self._place(start), len(self)):
            if not (name := self.name(place)).startswith(start):
                return
            yield name

    def name(self, place: int) -> str:
        """Path of a file by its place among all."""
        return self._block.text("names", place)

    def _place(self, name: str) -> int:
        """Of the first file that does not come before a name."""
        ends, names = self._block["names_ends"], self._block["names"]
        texts = range(len(self))
        return bisect_left(texts, _in_order(name), key=lambda place: names[ends[place] : ends[place + 1]].tobytes())


_KNOWN: dict[str, ShardIndex] = {}  # by folder


def known_index(folder: str) -> ShardIndex | None:
    """The index of a folder that this process has looked at; None of another one. Asks no file system."""
    return _KNOWN.get(folder)


def shard_index(folder: str) -> ShardIndex | None:
    """The index of the shards that lie in a folder now; None where none do.

    Args:
        folder: absolute.

    Raises:
        ValueError: a shard that cannot be used, or a file that is in them twice; names both.
        OSError: one that cannot be read.
    """
    shards = shards_in(folder)
    if not shards:
        _KNOWN.pop(folder, None)
        return None
    known = _KNOWN.get(folder)
    if known is None or known.shards != shards:
        from ..packed.cache import kept_block  # not at the top: folders are listed without torch, too

        block = kept_block(folder, lambda: _key(shards), lambda: shards_in(folder), lambda sink: _write(shards, sink))
        known = _KNOWN[folder] = ShardIndex(shards, block)
    return known


def shards_in(folder: str) -> tuple[Shard, ...]:
    """The shards in a folder, by name; none where there is no folder, or one that may not be looked into.

    Raises:
        ValueError: one is compressed.
    """
    try:
        status = os.stat(folder)
        is_settled = time.time_ns() - status.st_mtime_ns > _SETTLED
        look = _names_once if is_settled else _names
        names = look(folder, status.st_ino, status.st_mtime_ns)
    except OSError:
        return ()
    for name in names:
        if not name.endswith(".tar"):
            raise ValueError(f"The shard {os.path.join(folder, name)} is compressed: unpack it to NAME.tar.")
    return tuple(map(_shard, (os.path.join(folder, name) for name in names)))


def _names(folder: str, *_state: int) -> tuple[str, ...]:
    """Names of the shards in a folder, sorted."""
    with os.scandir(folder) as entries:
        return tuple(sorted(one.name for one in entries if SHARD_NAME.fullmatch(one.name) and one.is_file()))


_names_once = lru_cache(maxsize=4096)(_names)  # for each state of a folder


def _shard(path: str) -> Shard:
    status = os.stat(path)
    return Shard(path, status.st_size, status.st_mtime_ns)


def _in_order(name: str) -> bytes:
    """What a name is sorted by, as blocks and lists of files have it."""
    return name.encode("utf-8", "surrogatepass")


def _key(shards: tuple[Shard, ...]) -> str:
    """What an index depends on: the shards, and the code that reads them."""
    digest = hashlib.sha256(repr(shards).encode("utf-8", "surrogatepass"))
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _write(shards: tuple[Shard, ...], sink: "Sink") -> None:
    """Writes the block of an index."""
    folder = os.path.dirname(shards[0].path)
    size = sum(shard.size for shard in shards)
    logger.info("The headers of %s in %s are read (%.3g GB)", plural(len(shards), "shard"), folder, size / 1e9)
    table = TemporaryTable("name BLOB", "shard INTEGER", "offset INTEGER", "size INTEGER")
    for number, shard in enumerate(shards):
        table.add((_in_order(one.name), number, one.offset, one.size) for one in archived_files(shard.path))
    table.index("name")
    names, ends, numbers = bytearray(), array("q", [0]), array("q")
    before: tuple[bytes, int] = (b"", -1)
    for name, *three in table.execute("SELECT name, shard, offset, size FROM kept ORDER BY name, shard"):
        if name == before[0]:
            raise _twice(name.decode("utf-8", "surrogatepass"), shards[before[1]], shards[three[0]])
        before = name, three[0]
        names += name
        ends.append(len(names))
        numbers.extend(three)
    columns = np.frombuffer(numbers, np.int64).reshape(-1, 3)
    from ..packed.block import BlockWriter  # not at the top, for the same reason

    writer = BlockWriter(sink)
    writer.add("names_ends", np.frombuffer(ends, np.int64))
    writer.add("names", np.frombuffer(names, np.uint8))
    writer.add("shards", columns[:, 0].astype(np.int32))
    writer.add("offsets", columns[:, 1])
    writer.add("sizes", columns[:, 2])
    writer.finish({})


def _twice(name: str, one: Shard, other: Shard) -> ValueError:
    if one == other:
        return ValueError(f"The shard {one.path} holds {name} twice: write it with one of them.")
    return ValueError(
        f"The shards {one.path} and {other.path} both hold {name}: keep one of the two, or put the shards of each part "
        "into a folder of their own."
    )

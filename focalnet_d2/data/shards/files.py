"""Files wherever they are: on disk, in shards by the path that they would have unpacked, or where Detectron2's file
handlers reach.
"""

import io
import os
from collections.abc import Iterator
from typing import BinaryIO, cast

from .index import Member, ShardIndex, known_index, shard_index

_MOST_FOLDERS = 16  # above a file that are looked at for shards
_ROOTS: set[str] = set()


def note_root(root: str) -> None:
    """Says that a folder is a data set: shards in it may hold files of each folder below, and no shards above it do."""
    if os.path.isdir(root):
        _ROOTS.add(os.path.abspath(root))


def open_file(file_name: str) -> BinaryIO:
    """A file by its path, to be read; one in a shard as bytes in memory.

    Raises:
        FileNotFoundError: it is nowhere.
        OSError: it cannot be read, or the shard has changed since it was looked at.
        ValueError: no file can have this name, or the shards of its folder cannot be used.
    """
    if (known := find_member(str(file_name), only_known=True)) is not None:
        return io.BytesIO(_content(known))
    from detectron2.utils.file_io import PathManager  # not at the top: folders are listed without Detectron2, too

    try:
        return cast(BinaryIO, PathManager.open(str(file_name), "rb"))
    except (FileNotFoundError, NotADirectoryError):
        if (member := find_member(str(file_name))) is None:
            raise
        return io.BytesIO(_content(member))


def is_file(path: str | os.PathLike) -> bool:
    """Whether a path is that of a file on disk or in a shard."""
    return os.path.isfile(path) or find_member(os.fspath(path)) is not None


def is_folder(path: str | os.PathLike) -> bool:
    """Whether a path is that of a folder on disk or in shards."""
    return os.path.isdir(path) or any(True for _ in names_below(os.fspath(path)))


def exists(path: str | os.PathLike) -> bool:
    """Whether a path is that of something on disk or in shards."""
    return os.path.exists(path) or is_file(path) or is_folder(path)


def changed_at(path: str | os.PathLike) -> int:
    """When a file, or the shard that has it, was changed last, in nanoseconds.

    Raises:
        OSError: it is nowhere.
    """
    try:
        return os.stat(path).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        if (member := find_member(os.fspath(path))) is None:
            raise
        return member.shard.changed


def find_member(path: str, *, only_known: bool = False) -> Member | None:
    """The file in a shard that a path means, if there is one.

    Args:
        only_known: in a shard that this process has looked at before; asks no file system.

    Raises:
        ValueError, OSError: as `shard_index`.
    """
    path = os.path.abspath(path)
    for folder, index in _known_above(path) if only_known else _indices_above(path):
        if member := index.find(_relative(path, folder)):
            return member
    return None


def names_below(path: str) -> Iterator[str]:
    """Paths of the files that shards in the folders above have in and below a folder, relative to it, sorted for each
    of these folders; those of shards in the folder itself or below are not among them.

    Raises:
        ValueError, OSError: as `shard_index`.
    """
    path = os.path.abspath(path)
    for folder, index in _indices_above(path):
        below = _relative(path, folder)
        yield from (name[len(below) + 1 :] for name in index.below(below))


def _relative(path: str, folder: str) -> str:
    return path[len(folder.rstrip(os.sep)) + 1 :].replace(os.sep, "/")


def _indices_above(path: str) -> Iterator[tuple[str, ShardIndex]]:
    """Folders above a path that have shards, the nearest first, and their indices.

    A folder that is noted as a root is the last one that is looked into. Without such a root, those above something
    that is there are left alone: they need not have anything to do with it.
    """
    above = _folders_above(path)
    if path in _ROOTS or (not _ROOTS.intersection(above) and os.path.exists(path)):
        return
    for folder in above:
        index = known_index(folder)
        if index is None:
            index = shard_index(folder)
        if index is not None:
            yield folder, index


def _known_above(path: str) -> Iterator[tuple[str, ShardIndex]]:
    """Those of them that this process has looked at before."""
    for folder in _folders_above(path):
        if (index := known_index(folder)) is not None:
            yield folder, index


def _folders_above(path: str) -> list[str]:
    """The folders that a path lies in, the nearest first, up to one that is noted as a root."""
    above = [os.path.dirname(path)]
    while above[-1] not in _ROOTS and len(above) < _MOST_FOLDERS:
        if (folder := os.path.dirname(above[-1])) == above[-1]:
            break
        above.append(folder)
    return above


def _content(member: Member) -> bytes:
    """The bytes of a file in a shard.

    Raises:
        OSError: it cannot be read, or the shard has changed.
    """
    shard = member.shard
    with open(shard.path, "rb") as file:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (shard.size, shard.changed):
            raise OSError(f"the shard {shard.path} has changed since it was looked at: start again")
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) != member.size:
        raise OSError(f"the shard {shard.path} is cut off: copy it again")
    return content

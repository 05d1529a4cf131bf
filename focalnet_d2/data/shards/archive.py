"""Which files a tar archive holds, and where in it each begins, from its headers alone; nothing is unpacked.

The standard library's `tarfile` reads the headers. It takes a damaged one, and a file that is cut off between two
members, for the end of the archive; here both are errors.
"""

import os
import posixpath
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_KINDS = {
    **{tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.FIFOTYPE: "a pipe"},
    **{tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device"},
}
_AT_ONCE = 1 << 20  # bytes


class ArchivedFile(NamedTuple):
    """A file in an archive.

    Attributes:
        name: its path as the archive has it, relative, with "/", without "." and "..".
        offset, size: bytes of its content in the archive.
    """

    name: str
    offset: int
    size: int


def archived_files(path: str) -> Iterator[ArchivedFile]:
    """The files of an archive, in their order.

    Raises:
        ValueError: it is no whole tar archive without compression, or has a member that is no plain file or folder, or
            whose name leads out of its folder; names both.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        _refuse_compressed(file, path)
        last = ""
        for member in _members(file, path):
            last = member.name
            if not member.isdir():
                yield _plain_file(member, path, os.fstat(file.fileno()).st_size)
        _check_end(file, path, last)


def _refuse_compressed(file: BinaryIO, path: str) -> None:
    start = file.read(8)
    file.seek(0)
    for magic, name in _COMPRESSED.items():
        if start.startswith(magic):
            raise ValueError(f"The shard {path} is compressed ({name}), so its files cannot be found in it: unpack it.")


def _members(file: BinaryIO, path: str) -> Iterator[tarfile.TarInfo]:
    """All members; the file is then read up to the end of the last one.

    Raises:
        ValueError: a header is damaged.
    """
    last = ""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if member.size < 0 or archive.offset <= member.offset:
                    raise tarfile.ReadError("a size below zero")
                last = member.name
                yield member
            file.seek(archive.offset)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise ValueError(f"The shard {path} is damaged{_behind(last)} ({error}): copy it again.") from error


def _behind(last: str) -> str:
    return f" behind its member {last}" if last else ""


def _plain_file(member: tarfile.TarInfo, path: str, size: int) -> ArchivedFile:
    """Where the content of a member is.

    Args:
        size: bytes of the archive.
    """
    if not member.isreg() or member.issparse():
        kind = _KINDS.get(member.type, "a sparse file" if member.isreg() else "of an unknown kind")
        raise ValueError(
            f"The member {member.name} of the shard {path} is {kind}, and only plain files can be read: write the "
            "shard again with the content of the file."
        )
    if member.name.startswith("/") or ".." in member.name.split("/"):
        raise ValueError(
            f"The member {member.name} of the shard {path} lies outside of the folder of the shard: write names that "
            "are relative to it, without .. in them."
        )
    if member.offset_data + member.size > size:
        raise ValueError(f"The shard {path} is cut off in its member {member.name}: copy it again.")
    return ArchivedFile(posixpath.normpath(member.name), member.offset_data, member.size)


def _check_end(file: BinaryIO, path: str, last: str) -> None:
    """Whether nothing but zeros follows, a block of them at least."""
    zeros = 0
    while part := file.read(_AT_ONCE):
        if part.count(0) < len(part):
            raise ValueError(
                f"The shard {path} holds something{_behind(last)} that is no member: copy it again, or, if it is of "
                "several archives, keep them apart."
            )
        zeros += len(part)
    if zeros < tarfile.BLOCKSIZE:
        raise ValueError(f"The shard {path} is cut off{_behind(last)}, where its end should be: copy it again.")

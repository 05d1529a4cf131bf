"""Checks of the zip archives that `torch.save` writes, which `torch.load` itself does not make.

Every record of an archive has a CRC-32, but torch reads past it: damaged weights would load in silence.
"""

import mmap
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_CHUNK = 2**20  # bytes read at once


@dataclass(frozen=True)
class Archive:
    """What is known of an archive whose records are as they were written.

    Args:
        compressed: some record is compressed, so that the file cannot be mapped to memory.
        lengths: number of bytes -> how many records are that long.
    """

    compressed: bool
    lengths: Counter[int]

    def has_lengths(self, lengths: Iterable[int]) -> bool:
        """Whether there is a record of its own for each of these numbers of bytes."""
        return not Counter(lengths) - self.lengths


def check_archive(path: str | os.PathLike) -> Archive:
    """Compares every record with its checksum. Archives without any (torch can leave them out) are taken as they are.

    Raises:
        zipfile.BadZipFile: a record is damaged, or two have one name.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if len(archive.namelist()) != len(set(archive.namelist())):
            raise zipfile.BadZipFile("two records have one name")
        if any(record.CRC for record in records):
            _compare_checksums(path, archive, records)
    compressed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
    return Archive(compressed, Counter(record.file_size for record in records))


def _compare_checksums(path: str | os.PathLike, archive: zipfile.ZipFile, records: Sequence[zipfile.ZipInfo]) -> None:
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as content,
    ):
        for record in records:
            if record.compress_type != zipfile.ZIP_STORED:
                _read_through(archive, record)
            elif zlib.crc32(_stored(content, record)) != record.CRC:
                raise zipfile.BadZipFile(f"its record {record.filename} does not have its checksum")


def _stored(content: memoryview, record: zipfile.ZipInfo) -> memoryview:
    """The bytes of a record that is not compressed: they follow its header, a name and more, whose lengths it says."""
    head = record.header_offset
    name, more = (int.from_bytes(content[head + place : head + place + 2], "little") for place in (26, 28))
    start = head + 30 + name + more
    return content[start : start + record.file_size]


def _read_through(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    """Python compares the checksum when it comes to the end of a record."""
    try:
        with archive.open(record) as file:
            while file.read(_CHUNK):
                pass
    except Exception as error:  # damaged lengths and compressed data can raise anything
        raise zipfile.BadZipFile(f"its record {record.filename}: {error}") from error

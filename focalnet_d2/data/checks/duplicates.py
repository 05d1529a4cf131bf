"""Images that are there twice, and images of one part that stand in another, too.

Of every image a row is kept in a temporary file: checksums of its file and of its name, and 64 bits that say where its
brightness rises from left to right. Equal files: the same image. Nearly equal bits: both files are read again and
compared, which says whether their pixels are the same, or nearly so.
"""

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from itertools import chain, groupby, islice, starmap
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from PIL import Image

from focalnet_d2.utils.temporary_table import TemporaryTable

from ..image_reading import read_picture

DIFFERENT_BITS = 6  # of 64, up to which two images are compared
MOST_COMPARED = 2000  # pairs of images that are read again
_BANDS, _BITS = 7, 9  # of the 64 bits: with 6 different ones, one band of bits at least is equal
_NEIGHBORS = 256  # images with an equal band that one image is looked at beside
_CHUNK = 2000  # images whose hashes are compared at once
_MIDDLE = 1 << 63
_SIDE, _POINTS, _SMALL = 8, 160, 32
_DIFFERENCE = 3.0  # mean difference of gray values from 0 to 255 of images that are nearly the same,
_SHARE = 0.15  # and its share of their contrast, so that dim images are not all alike
_ASPECT = 1.05
_SET_BITS = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)


class Pair(NamedTuple):
    """Two images, by their places in a `Fingerprints`; the first is the earlier one."""

    first: int
    second: int


class Fingerprints:
    """Checksums and hashes of images in the order in which they were seen, by which they have places."""

    def __init__(self) -> None:
        columns = ("part", "own_part", "name", "checksum", "hash")
        self._table = TemporaryTable(*(f"{column} INTEGER" for column in columns))

    def add(self, part: int, file_name: str, fingerprint: tuple[int, int] | None) -> None:
        """Adds those of one image; None for one that cannot be read, which keeps its place and is like no other.

        Args:
            part: number of its part.
        """
        checksum, hashed = fingerprint or (0, 0)
        name = zlib.crc32(os.path.basename(file_name).encode("utf-8", "surrogateescape"))
        values = (part, part, name, checksum, hashed - _MIDDLE)  # of 64 bits with a sign, in the order of those without
        self._table.execute("INSERT INTO kept VALUES (?, ?, ?, ?, ?)", values)

    def set_apart(self, places: Iterable[int]) -> None:
        """Says which images are split off, so that they are in another part than the others of theirs."""
        for place in places:
            self._table.execute("UPDATE kept SET own_part = -1 WHERE rowid = ?", (place + 1,))

    def is_apart(self, place: int) -> bool:
        """Whether `set_apart` has said so of an image."""
        return self._table.execute("SELECT own_part < 0 FROM kept WHERE rowid = ?", (place + 1,)).fetchone() == (1,)

    def count(self, part: int) -> int:
        """How many images a part has."""
        ((count,),) = self._table.execute("SELECT count(*) FROM kept WHERE part = ?", (part,))
        return count

    def equal_groups(self) -> list[list[int]]:
        """Places of images whose files are the same, a list for each such image, rising."""
        rows = self._table.execute(
            "SELECT checksum, hash, rowid - 1 FROM kept WHERE checksum > 0 ORDER BY checksum, hash, rowid"
        )
        groups = ([place for *_, place in group] for _, group in groupby(rows, itemgetter(0, 1)))
        return sorted(group for group in groups if len(group) > 1)

    def equal_names(self, most: int) -> tuple[int, list[int]]:
        """How many images have a name that an image of an earlier part has, too (or, once in 4 billion, another name),
        and the places of the first of them."""
        self._table.index("name, part")
        known = "SELECT 1 FROM kept AS other WHERE other.name = kept.name AND other.part < kept.part"
        found = f"FROM kept WHERE EXISTS ({known})"
        ((count,),) = self._table.execute(f"SELECT count(*) {found}")
        rows = self._table.execute(f"SELECT rowid - 1 {found} ORDER BY part, rowid LIMIT ?", (most,))
        return count, [place for (place,) in rows]

    def similar_pairs(self) -> list[Pair]:
        """Pairs of images with nearly equal bits, of which `compare` tells which are nearly the same, the first
        `MOST_COMPARED` of them.

        Of images that are equal and in the same part, only the first is looked at.
        """
        firsts = TemporaryTable("hash INTEGER", "checksum INTEGER", "place INTEGER")
        firsts.add(
            self._table.execute(
                "SELECT hash, checksum, min(rowid) - 1 AS place FROM kept WHERE checksum > 0 "
                "GROUP BY own_part, checksum, hash ORDER BY place"
            )
        )
        found: set[Pair] = set()
        for band in range(_BANDS):
            rows = firsts.execute(
                "SELECT * FROM kept ORDER BY (hash >> ?) & ?, hash, place", (_BITS * band, 2**_BITS - 1)
            )
            found.update(_similar_in_band(rows, _BITS * band))
        return sorted(found)[:MOST_COMPARED]


def difference_hash(image: Image.Image) -> int:
    """64 bits of an RGB image: whether each of 8 x 8 places is darker than the one to its right.

    A place is the mean of some hundred pixels, which is as good as that of all, and takes a fraction of the time.
    """
    points = image.resize((_POINTS, _POINTS), Image.Resampling.NEAREST)
    values = np.asarray(points.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX).convert("L"))
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")


def _similar_in_band(rows: Iterator[tuple[int, int, int]], shift: int) -> Iterator[Pair]:
    """Pairs of images whose hashes share a band and differ in few bits, and which are not equal.

    Where there are too many, those that are nearest to each other in the order, and of the farthest of them the first.

    Args:
        rows: hash, checksum and place of images in the order of the band and the hash, so that pairs are near to each
            other.
        shift: of the bits of the band.
    """
    counts = np.zeros(_NEIGHBORS, np.int64)  # of pairs, by how far they are from each other
    found: dict[int, list[Pair]] = defaultdict(list)
    most, before = _NEIGHBORS - 1, np.empty((0, 3), np.int64)
    while chunk := list(islice(rows, _CHUNK)):
        table = np.concatenate([before, np.array(chunk, np.int64)])  # (N, 3)
        for distance in range(1, min(most + 1, len(table))):
            close = _close_rows(table, len(before), distance, shift)
            if close is None:
                break
            one, other = table[close], table[close + distance]
            counts[distance] += len(close)
            differ = (one[:, :2] != other[:, :2]).any(axis=1)
            pairs = np.sort(np.stack([one[differ, 2], other[differ, 2]], axis=1)).tolist()  # (K, 2) places
            found[distance] = sorted([*found[distance], *starmap(Pair, pairs)])[:MOST_COMPARED]
        most = next(iter(np.flatnonzero(np.cumsum(counts) > MOST_COMPARED).tolist()), most)
        before = table[1 - _NEIGHBORS :]
    return chain.from_iterable(found[distance] for distance in range(1, most + 1) if distance in found)


def _close_rows(table: np.ndarray, start: int, distance: int, shift: int) -> np.ndarray | None:
    """Rows whose hash differs in few bits from that of the row at a distance after it, which is at `start` or behind.

    Returns:
        (K,) rising; None where no two rows at that distance share the band.
    """
    hashes, first = table[:, 0], max(0, start - distance)
    band = (hashes[first:] >> shift) & (2**_BITS - 1)
    rows = np.flatnonzero(band[:-distance] == band[distance:]) + first
    if not len(rows):
        return None
    bits = np.ascontiguousarray(hashes[rows] ^ hashes[rows + distance]).view(np.uint8).reshape(-1, 8)
    return rows[_SET_BITS[bits].sum(axis=1) <= DIFFERENT_BITS]


class Likeness(Enum):
    """How alike two images are."""

    DIFFERENT = 0
    NEAR = 1  # the same scene, saved or resized again
    EXACT = 2  # the same pixels


def compare_files(files: Sequence[tuple[str, str]], *, threads: int) -> list[Likeness]:
    """How alike the two images of each pair of files are."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_compare, files))


def _compare(files: tuple[str, str]) -> Likeness:
    try:
        one, other = (Image.fromarray(read_picture(file)) for file in files)
    except (OSError, ValueError):  # gone since it was looked at
        return Likeness.DIFFERENT
    if one.size == other.size and one.tobytes() == other.tobytes():
        return Likeness.EXACT
    aspects = sorted((one.width / one.height, other.width / other.height))
    if aspects[1] > _ASPECT * aspects[0]:
        return Likeness.DIFFERENT
    first, second = map(_small, (one, other))
    allowed = min(_DIFFERENCE, _SHARE * float(first.std()), _SHARE * float(second.std()))
    return Likeness.NEAR if float(np.abs(first - second).mean()) <= allowed else Likeness.DIFFERENT


def _small(image: Image.Image) -> np.ndarray:
    """(32, 32) gray values of an image."""
    small = image.resize((_SMALL, _SMALL), Image.Resampling.BOX, reducing_gap=2.0).convert("L")
    return np.asarray(small).astype(np.float32)

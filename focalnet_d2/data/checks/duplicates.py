"""Images that are there twice, and images of one part that stand in another, too.

Of every image 16 bytes are kept: checksums of its file and of its name, and 64 bits that say where its brightness rises
from left to right. Equal files: the same image. Nearly equal bits: both files are read again and compared, which says
whether their pixels are the same, or nearly so.
"""

import os
import zlib
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..image_reading import read_image_file
from ..pixels import decode_image, to_rgb, turned_upright

DIFFERENT_BITS = 6  # of 64, up to which two images are compared
MOST_COMPARED = 2000  # pairs of images that are read again
_BANDS, _BITS = 7, 9  # of the 64 bits: with 6 different ones, one band of bits at least is equal
_NEIGHBORS = 256  # images with an equal band that one image is looked at beside
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
    """Checksums and hashes of images in the order in which they were seen."""

    def __init__(self) -> None:
        self.checksums = array("I")
        self.hashes = array("Q")
        self.names = array("I")

    def __len__(self) -> int:
        return len(self.hashes)

    def add(self, file_name: str, fingerprint: tuple[int, int] | None) -> None:
        """Adds those of one image; None for one that cannot be read, which keeps its place and is like no other."""
        self.names.append(zlib.crc32(os.path.basename(file_name).encode("utf-8", "surrogateescape")))
        self.checksums.append(0 if fingerprint is None else fingerprint[0])
        self.hashes.append(0 if fingerprint is None else fingerprint[1])


def difference_hash(image: Image.Image) -> int:
    """64 bits of an RGB image: whether each of 8 x 8 places is darker than the one to its right.

    A place is the mean of some hundred pixels, which is as good as that of all, and takes a fraction of the time.
    """
    points = image.resize((_POINTS, _POINTS), Image.Resampling.NEAREST)
    values = np.asarray(points.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX).convert("L"))
    return int.from_bytes(np.packbits(values[:, 1:] > values[:, :-1]).tobytes(), "big")


def equal_groups(prints: Fingerprints) -> list[list[int]]:
    """Places of images whose files are the same, a list for each such image, rising."""
    hashes, checksums = np.asarray(prints.hashes), np.asarray(prints.checksums)
    order = np.lexsort((hashes, checksums))  # equal ones in the order of their places
    same = (hashes[order[1:]] == hashes[order[:-1]]) & (checksums[order[1:]] == checksums[order[:-1]])
    same &= checksums[order[1:]] > 0
    groups: list[list[int]] = []
    for place in np.flatnonzero(same).tolist():
        if not groups or groups[-1][-1] != order[place]:
            groups.append([int(order[place])])
        groups[-1].append(int(order[place + 1]))
    return sorted(groups)


def equal_names(prints: Fingerprints, parts: Sequence[int]) -> list[int]:
    """Places of images whose name an image of an earlier part has, too (or, once in 4 billion, another name)."""
    names, numbers = np.array(prints.names, np.uint32), np.array(parts, np.int64)
    found = [
        np.flatnonzero((numbers == number) & np.isin(names, names[numbers < number]))
        for number in np.unique(numbers)[1:].tolist()
    ]
    return np.concatenate(found).tolist() if found else []


def similar_pairs(prints: Fingerprints, parts: Sequence[int]) -> list[Pair]:
    """Pairs of images with nearly equal bits, of which `compare` tells which are nearly the same.

    Of images that are equal and in the same part, only the first is looked at.

    Args:
        parts: number of the part of each image.
    """
    columns = [np.asarray(prints.hashes), np.asarray(prints.checksums), np.asarray(parts)]
    order = np.lexsort(columns)  # equal ones in the order of their places
    is_first = np.ones(len(order), bool)
    is_first[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    places = np.sort(order[is_first & (columns[1][order] > 0)])
    hashes = columns[0][places]
    found: set[Pair] = set()
    for band in range(_BANDS):
        found |= _similar_in_band(
            hashes, ((hashes >> np.uint64(_BITS * band)) & np.uint64(2**_BITS - 1)).astype(np.uint16)
        )
    pairs = (Pair(int(places[one]), int(places[other])) for one, other in found)
    return sorted(pair for pair in pairs if any(one[pair.first] != one[pair.second] for one in columns[:2]))


def _similar_in_band(hashes: np.ndarray, band: np.ndarray) -> set[Pair]:
    """Pairs of indices (rising) of hashes that share a band and differ in few bits."""
    order = np.lexsort((hashes, band))
    found: set[Pair] = set()
    for distance in range(1, min(_NEIGHBORS, len(order))):
        one, other = order[:-distance], order[distance:]
        shares = band[one] == band[other]
        if not shares.any():
            break
        one, other = one[shares], other[shares]
        bits = np.ascontiguousarray(hashes[one] ^ hashes[other]).view(np.uint8).reshape(-1, 8)
        close = _SET_BITS[bits].sum(axis=1) <= DIFFERENT_BITS
        found |= {Pair(*sorted(pair)) for pair in zip(one[close].tolist(), other[close].tolist())}
        if len(found) > MOST_COMPARED:
            break
    return found


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
        one, other = (to_rgb(turned_upright(decode_image(read_image_file(file), file)), file) for file in files)
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

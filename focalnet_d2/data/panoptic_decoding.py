"""Segment ids straight out of the bytes of a panoptic PNG, several times as fast as by way of a picture.

A compiled function does all of it in two passes. Only what is surely whole and of the usual form is taken: 8-bit RGB,
not interlaced, all check sums right.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from focalnet_d2.kernels import panoptic_png

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = struct.Struct(">IIBBBBB")  # of IHDR: width, height, bits, kind of color, compression, filter, interlacing
_USUAL = (8, 2, 0, 0, 0)
_CHUNK = struct.Struct(">I4s")  # length and name
_MOST_BYTES = 1 << 28  # of pixels; beyond, other decoders have a say


def decode_ids(content: bytes) -> np.ndarray | None:
    """Segment ids (H, W) int32 of a PNG file; None where another decoder has to look at it, or nothing is compiled."""
    if panoptic_png.LIBRARY.load() is None or not content.startswith(PNG_SIGNATURE):
        return None
    try:
        (name, head), *chunks = _chunks(content)
        width, height, *form = _HEAD.unpack(head)
    except (struct.error, ValueError):
        return None
    size = height * (1 + 3 * width)
    names = {name for name, _ in chunks}
    if name != b"IHDR" or tuple(form) != _USUAL or not width or not 0 < size <= _MOST_BYTES or b"tRNS" in names:
        return None
    return panoptic_png.decode_ids(b"".join(data for name, data in chunks if name == b"IDAT"), height, width)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of the chunks before IEND.

    Raises:
        ValueError, struct.error: the file is damaged or cut off.
    """
    start, name = len(PNG_SIGNATURE), b""
    while name != b"IEND":
        length, name = _CHUNK.unpack_from(content, start)
        end = start + _CHUNK.size + length
        (expected,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(memoryview(content)[start + 4 : end]) != expected:
            raise ValueError("a check sum is wrong")
        yield name, content[start + _CHUNK.size : end]
        start = end + 4

"""Segment ids out of the pixels of a panoptic PNG, compiled (panoptic_png.cpp); who calls it has another way."""

import ctypes
from pathlib import Path

import numpy as np

from .compiler import CompiledLibrary

LIBRARY = CompiledLibrary(Path(__file__).with_name("panoptic_png.cpp"))

_number = ctypes.c_int64


def decode_ids(data: bytes, height: int, width: int) -> np.ndarray | None:
    """Segment ids (H, W) int32 of an 8-bit RGB PNG that is not interlaced; None if the data are not exactly these.

    Args:
        data: the joined data of its IDAT chunks; red becomes the lowest byte of an id.
    """
    ids, good = np.empty((height, width), np.int32), _number(0)
    LIBRARY.function("decode_ids")(
        data, _number(len(data)), _number(height), _number(width), ctypes.c_void_p(ids.ctypes.data), ctypes.byref(good)
    )
    return ids if good.value else None

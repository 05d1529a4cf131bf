"""The pixels of every pair of segments in two maps, compiled (pair_counts.cpp); who calls it has another way."""

import ctypes
from pathlib import Path

import numpy as np

from .compiler import CompiledLibrary

LIBRARY = CompiledLibrary(Path(__file__).with_name("pair_counts.cpp"))

_number = ctypes.c_int64


def count_pairs(
    truth_map: np.ndarray, predicted_map: np.ndarray, true_ids: np.ndarray, predicted_ids: np.ndarray
) -> np.ndarray:
    """Pixels that every pair of G true and P predicted segments shares.

    Args:
        truth_map, predicted_map: integers of one shape (H, W).
        true_ids, predicted_ids: (G,) and (P,) ids, ascending, above 0.

    Returns:
        (G + 2, P + 2) int64: void (0) first, then the segments, last the ids that no segment has.
    """
    dtype = np.int32 if truth_map.dtype == predicted_map.dtype == np.int32 else np.int64
    maps = [np.ascontiguousarray(labels, dtype) for labels in (truth_map, predicted_map)]
    lists = [np.ascontiguousarray(ids, np.int64) for ids in (true_ids, predicted_ids)]
    counts = np.zeros((len(true_ids) + 2, len(predicted_ids) + 2), np.int64)
    LIBRARY.function(f"count_pairs_of_{dtype().itemsize}_bytes")(
        *(_address(labels) for labels in maps),
        _number(maps[0].size),
        *(part for ids in lists for part in (_address(ids), _number(len(ids)))),
        _address(counts),
    )
    return counts


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)

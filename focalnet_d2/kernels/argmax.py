"""Which of many maps is the largest at every pixel, several times faster on a CPU than `argmax` along an axis."""

import ctypes
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .compiler import CompiledLibrary

LIBRARY = CompiledLibrary(Path(__file__).with_name("argmax.cpp"))
_TILE = 16384  # pixels whose running maximum stays in the cache
_FEW_BYTES = 8 * 2**20  # maps that stay in the cache as a whole


def index_of_largest(maps: Tensor) -> Tensor:
    """First index of the largest value along the first axis: (C, ...) -> (...), uint8 up to 256 maps, else int32.

    On the CPU `argmax` walks through memory in steps of a whole map. A compiled function reads every map once; without
    a compiler passes over whole maps replace it where these stay in the cache, and where they do not a running maximum,
    tile after tile. As for `argmax`, not a number is larger than any.
    """
    dtype = torch.uint8 if len(maps) <= 256 else torch.int32
    if maps.device.type != "cpu":
        return maps.argmax(0).to(dtype)
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    rows = maps.detach().reshape(len(maps), -1)  # (C, N)
    if rows.dtype == torch.float32 and LIBRARY.load() is not None:
        indices = _by_library(rows.contiguous())
        return (maps.argmax(0) if indices is None else indices.view(maps.shape[1:])).to(dtype)
    is_small = rows.is_floating_point() and rows.nbytes <= _FEW_BYTES
    best, indices = _by_rank(rows, dtype) if is_small else _by_tiles(rows, dtype)
    if best.isnan().any():
        return maps.argmax(0).to(dtype)
    return indices.view(maps.shape[1:])


def _by_library(rows: Tensor) -> Tensor | None:
    """(C, N) -> first indices of the maxima (N,) int32; None if there is not a number."""
    indices, has_nan = torch.empty(rows.shape[1], dtype=torch.int32), ctypes.c_int64(0)
    sizes = map(ctypes.c_int64, rows.shape)
    addresses = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (rows, indices)]
    LIBRARY.function("index_of_largest")(addresses[0], *sizes, addresses[1], ctypes.byref(has_nan))
    return None if has_nan.value else indices


def _by_rank(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(C, N) -> maxima (N,) and their first indices (N,): of those that equal the maximum the first ranks highest."""
    count, best = len(rows), rows.amax(0)
    ranks = torch.eq(rows, best, out=torch.empty_like(rows))
    ranks *= torch.arange(count, 0, -1, dtype=rows.dtype)[:, None]
    return best, (count - ranks.amax(0)).to(dtype)


def _by_tiles(rows: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """As `_by_rank`."""
    values, best, indices = rows.numpy(), rows[0].clone(), torch.zeros(rows.shape[1], dtype=dtype)
    for start in range(0, rows.shape[1], _TILE):
        tile = slice(start, start + _TILE)
        _running_argmax(values[:, tile], best.numpy()[tile], indices.numpy()[tile])
    return best, indices


def _running_argmax(rows: np.ndarray, best: np.ndarray, indices: np.ndarray) -> None:
    """Fills `indices` (N,) for values (C, N); `best` (N,) goes from the first row to the maximum."""
    higher = np.empty(len(best), bool)
    for index in range(1, len(rows)):
        np.greater(rows[index], best, out=higher)
        np.maximum(indices, higher.view(np.uint8) * indices.dtype.type(index), out=indices)
        np.maximum(best, rows[index], out=best)

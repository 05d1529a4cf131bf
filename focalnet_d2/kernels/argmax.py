"""Which of many maps is the largest at every pixel, several times faster on a CPU than `argmax` along an axis."""

import numpy as np
import torch
from torch import Tensor

_TILE = 16384  # pixels whose running maximum stays in the cache


def index_of_largest(maps: Tensor) -> Tensor:
    """First index of the largest value along the first axis: (C, ...) -> (...), uint8 up to 256 maps, else int32.

    On the CPU a running maximum over the maps, tile after tile, replaces `argmax`, which walks through memory in steps
    of a whole map. As for `argmax`, not a number is larger than any.
    """
    dtype = torch.uint8 if len(maps) <= 256 else torch.int32
    if maps.device.type != "cpu":
        return maps.argmax(0).to(dtype)
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    rows = maps.detach().reshape(len(maps), -1).numpy()  # (C, N)
    classes = torch.zeros(rows.shape[1], dtype=dtype)
    best = rows[0].copy()
    for start in range(0, rows.shape[1], _TILE):
        tile = slice(start, start + _TILE)
        _running_argmax(rows[:, tile], best[tile], classes.numpy()[tile])
    if np.isnan(best).any():
        return maps.argmax(0).to(dtype)
    return classes.view(maps.shape[1:])


def _running_argmax(rows: np.ndarray, best: np.ndarray, classes: np.ndarray) -> None:
    """Fills `classes` (N,) for values (C, N); `best` (N,) goes from the first row to the maximum."""
    higher = np.empty(len(best), bool)
    for index in range(1, len(rows)):
        np.greater(rows[index], best, out=higher)
        np.maximum(classes, higher.view(np.uint8) * classes.dtype.type(index), out=classes)
        np.maximum(best, rows[index], out=best)

"""COCO's compressed run lengths of masks, with numpy alone; `pycocotools.mask` reads and writes the same."""

from typing import Any

import numpy as np

_BITS, _MORE, _FIRST = 5, 32, 48  # bits of a character, the flag of one that is not the last, and the character of 0


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> `size` [H, W] and `counts`, text."""
    return {"size": list(mask.shape), "counts": _as_text(_counts(mask))}


def _counts(mask: np.ndarray) -> np.ndarray:
    """Lengths of the stretches without and with the object by turns, column after column; the first may be 0."""
    flat = np.ascontiguousarray(mask.T).reshape(-1).astype(bool, copy=False)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], changes]) if len(flat) and not flat[0] else np.concatenate([[0, 0], changes])
    return np.diff(starts, append=len(flat))


def _as_text(counts: np.ndarray) -> str:
    """From the fourth on, the difference from the last but one before; in characters of five bits, low ones first."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    lengths = np.ones(len(values), np.int64)  # characters of each
    while (over := ~_fits(values, lengths)).any():
        lengths[over] += 1
    places = np.arange(lengths.max(initial=0))
    characters = (values[:, None] >> (_BITS * places)) & (_MORE - 1)  # (R, L)
    characters |= np.where(places < lengths[:, None] - 1, _MORE, 0)
    return (characters + _FIRST)[places < lengths[:, None]].astype(np.uint8).tobytes().decode("ascii")


def _fits(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Whether numbers with a sign fit into that many characters."""
    half = 1 << (_BITS * lengths - 1)
    return (-half <= values) & (values < half)

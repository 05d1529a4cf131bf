"""COCO's compressed run lengths of masks, with numpy alone; `pycocotools.mask` reads and writes the same."""

from typing import Any

import numpy as np

from focalnet_d2.structures.cropped_masks import CroppedMask

_BITS, _MORE, _FIRST = 5, 32, 48  # bits of a character, the flag of one that is not the last, and the character of 0


def encode_mask(mask: CroppedMask, size: tuple[int, int]) -> dict[str, Any]:
    """A mask in an image of (H, W) -> `size` [H, W] and `counts`, text."""
    return {"size": list(size), "counts": _as_text(np.array(mask.run_lengths(*size), np.int64))}


def _as_text(counts: np.ndarray) -> str:
    """From the fourth on, the difference from the last but one before; in characters of five bits, low ones first."""
    values = counts.copy()
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

"""Run lengths in COCO's compressed form: written, and checked without being trusted.

Decoders take the total of the runs for granted: with a wrong one they leave pixels undefined, write beyond the mask, or
give another mask at every reading. The compressed form writes the runs of background and object in turn, from the third
run on as the difference to the run before last, each number as characters of five bits: lowest first, 32 added where
more follow, and the fifth bit of the last is the sign.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pycocotools import mask as mask_codec

_CHUNK = 1 << 20  # characters at once
_LONGEST = 7  # characters of the longest number, 2**32


def compressed_rle(mask: np.ndarray) -> dict:
    """COCO's compressed run lengths of a (H, W) bool mask."""
    encoded = mask_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": _as_text(encoded["counts"])}


def fill_exactly(counts: Sequence[str | bytes], pixels: Sequence[int]) -> np.ndarray:
    """(N,) bool: whether each of N compressed run lengths is well formed and as long as its image has pixels."""
    texts = list(map(_as_text, counts))
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    chunks = np.cumsum(lengths) // _CHUNK  # (N,) rising
    bounds = [0, *(np.flatnonzero(np.diff(chunks)) + 1).tolist(), len(texts)]
    totals = [_totals(texts[start:end], lengths[start:end]) for start, end in pairwise(bounds)]
    return np.concatenate(totals) == np.asarray(pixels)


def _as_text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode("latin-1")


def _totals(texts: list[str], lengths: np.ndarray) -> np.ndarray:
    """(N,) pixels of each mask; -1 where its text is malformed."""
    text = re.sub(r"[^\x00-\x7f]", " ", "".join(texts))  # any character that is none of the code
    bits = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    owner = np.repeat(np.arange(len(texts)), lengths)  # (characters,) the mask of each
    last = np.append(owner[1:] != owner[:-1], True)[: len(bits)]  # last character of its mask
    more = bits & 32 > 0
    numbers, places = _numbers(bits, ends=~more | last)
    runs = _runs(numbers, owner[places])
    malformed = np.zeros(len(texts), dtype=bool)
    malformed[owner[(bits < 0) | (bits > 63) | (more & last)]] = True
    malformed[owner[places][runs < 0]] = True
    totals = np.bincount(owner[places], weights=runs, minlength=len(texts))
    return np.where(malformed, -1, totals)


def _numbers(bits: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of the numbers that a row of characters spells, and where the last character of each is."""
    places = np.flatnonzero(ends)
    starts = np.append(0, places[:-1] + 1)[: len(places)]
    sizes = places - starts + 1
    shifts = 5 * np.minimum(np.arange(len(bits)) - np.repeat(starts, sizes), _LONGEST + 1)
    values = np.add.reduceat((bits & 31) << shifts, starts) if len(places) else places
    negative = bits[places] & 16 > 0
    values -= negative.astype(np.int64) << (5 * np.minimum(sizes, _LONGEST + 1))
    return np.where(sizes > _LONGEST, -(1 << 40), values), places


def _runs(numbers: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Lengths of the runs: each number of a mask from the third on is added to the run before last."""
    position = np.arange(len(owner)) - np.searchsorted(owner, owner)  # within the mask
    chain = 3 * owner + np.where(position == 0, 0, 1 + position % 2)  # the first run, the odd, the even ones
    order = np.argsort(chain, kind="stable")
    sums, sorted_chain = np.cumsum(numbers[order]), chain[order]
    before = sums - numbers[order]
    runs = np.empty_like(numbers)
    runs[order] = sums - before[np.searchsorted(sorted_chain, sorted_chain)]
    return runs

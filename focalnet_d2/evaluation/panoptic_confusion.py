"""What becomes of every segment of a panoptic prediction and of its truth, beyond matched or not.

Areas are counted from the pixels, and all crowds of a class excuse: the corrected rules of `panoptic_counts`. The
union of two segments leaves out what lies on the void of the truth, as PQ does; a segment has an IoU above 0.5 with one
other at most, of whatever class.

A true segment that is no crowd is, in this order:

    matched       its IoU with a predicted segment of its class is above 0.5
    confused      its IoU with a predicted segment of another class is above 0.5, and nothing excuses that one
    split         two or more predicted segments of its class lie for more than half inside it, and together cover more
                  than half of it
    merged        a predicted segment of its class covers more than half of it, and more than half of another true
                  segment of the class
    void          more than half of it has no prediction
    missed        anything else: other segments cover it, or one of its class too little

A predicted segment is, in this order:

    matched       as above
    void          more than half of it lies on void or on crowds of its class, so that it does not count
    confused      it is the partner of a confused true segment
    part          one of those that a split true segment has
    merging       it covers more than half of two or more true segments of its class
    hallucinated  anything else

So every segment has one fate; PQ's true positives are the matched ones, its false negatives all other true ones, and
its false positives all other predicted ones but those on void.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .object_sizes import SIZES
from .panoptic_counts import Segments

TRUE_FATES = ("split", "merged", "void", "missed")  # besides matched and confused, which the pairs of classes count
PREDICTED_FATES = ("void", "part", "merging", "hallucinated")
MATCHED, CONFUSED, CROWD = "matched", "confused", "crowd"
ALL_TRUE_FATES, ALL_PREDICTED_FATES = (*TRUE_FATES, MATCHED, CONFUSED, CROWD), (*PREDICTED_FATES, MATCHED, CONFUSED)
_TRUE_CODES = {fate: code for code, fate in enumerate(ALL_TRUE_FATES)}
_PREDICTED_CODES = {fate: code for code, fate in enumerate(ALL_PREDICTED_FATES)}
_SIZE_LIMITS = np.array([low for low, _ in SIZES.values()][1:])  # the sizes follow each other from 0 on


@dataclass(frozen=True)
class SegmentFates:
    """The fates of the segments of one image.

    Attributes:
        true_codes: (G,) places in `ALL_TRUE_FATES`; predicted_codes: (P,) places in `ALL_PREDICTED_FATES`.
        partners: (G,) place of the predicted segment that a matched or confused one has, else -1.
        true_classes: (G,), predicted_classes: (P,) indices.
        areas: (G,) pixels of the true segments.
    """

    true_codes: np.ndarray
    predicted_codes: np.ndarray
    partners: np.ndarray
    true_classes: np.ndarray
    predicted_classes: np.ndarray
    areas: np.ndarray

    @property
    def true_fates(self) -> list[str]:
        """G names."""
        return [ALL_TRUE_FATES[code] for code in self.true_codes]

    @property
    def predicted_fates(self) -> list[str]:
        """P names."""
        return [ALL_PREDICTED_FATES[code] for code in self.predicted_codes]


def segment_fates(overlaps: np.ndarray, truth: Segments, predicted: Segments) -> SegmentFates:
    """The fates of the segments of an image.

    Args:
        overlaps: (G + 2, P + 2) of `panoptic_counts.count_overlaps`; every predicted segment has pixels.
    """
    shared, on_void = overlaps[1:-1, 1:-1], overlaps[0, 1:-1]  # (G, P), (P,)
    areas, predicted_areas = overlaps[1:-1].sum(1), overlaps[:, 1:-1].sum(0)  # (G,), (P,)
    same = truth.classes[:, None] == predicted.classes  # (G, P)
    is_crowd = truth.crowd[:, None]
    alike = (3 * shared > areas[:, None] + (predicted_areas - on_void)) & ~is_crowd  # twice the shared above the union
    excused = 2 * (on_void + (shared * (same & is_crowd)).sum(0)) > predicted_areas  # (P,)
    pairs = alike & (same | ~excused)  # (G, P) matched or confused, at most one in each row and column
    has_partner, is_partner = pairs.any(1), pairs.any(0)
    free, countable = ~has_partner & ~truth.crowd, ~is_partner & ~excused
    split, parts = _split(shared, same & free[:, None] & countable, areas, predicted_areas)
    covering = same & ~is_crowd & (2 * shared > areas[:, None])  # (G, P): more than half of the true one
    merging = covering.sum(0) >= 2
    right = pairs & same
    true_layers = {
        "void": free & (2 * overlaps[1:-1, 0] > areas),
        "merged": free & (covering & merging).any(1),
        "split": split,
        CONFUSED: has_partner,
        MATCHED: right.any(1),
        CROWD: truth.crowd,
    }
    predicted_layers = {
        "merging": merging, "part": parts, CONFUSED: is_partner, "void": excused, MATCHED: right.any(0),
    }  # fmt: skip
    return SegmentFates(
        true_codes=_topmost(true_layers, _TRUE_CODES, "missed", len(truth)),
        predicted_codes=_topmost(predicted_layers, _PREDICTED_CODES, "hallucinated", len(predicted)),
        partners=np.where(has_partner, pairs.argmax(1), -1) if len(predicted) else np.full(len(truth), -1),
        true_classes=truth.classes,
        predicted_classes=predicted.classes,
        areas=areas,
    )


def _split(
    shared: np.ndarray, candidates: np.ndarray, areas: np.ndarray, predicted_areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which true segments (G,) are split, and which predicted ones (P,) are parts of them, of pairs (G, P)."""
    inside = candidates & (2 * shared > predicted_areas)  # more than half of the predicted one
    split = (inside.sum(1) >= 2) & (2 * (shared * inside).sum(1) > areas)
    return split, (inside & split[:, None]).any(0)


def _topmost(layers: Mapping[str, np.ndarray], codes: Mapping[str, int], otherwise: str, size: int) -> np.ndarray:
    """(size,) code of the last layer that each segment is in."""
    found = np.full(size, codes[otherwise])
    for fate, members in layers.items():
        found[members] = codes[fate]
    return found


class PanopticConfusion:
    """Fates of the segments of all images so far, by class.

    Attributes:
        pairs: (K, K) int64, true segments of the row's class whose partner has the column's: matched and confused ones.
        true_counts: (K,) of each of `TRUE_FATES`; predicted_counts: (K,) of each of `PREDICTED_FATES`.
        sizes: (3, 2) true segments that are small, medium and large, and those of them that are matched.
    """

    def __init__(self, num_classes: int) -> None:
        self.pairs = np.zeros((num_classes, num_classes), np.int64)
        self.true_counts = {fate: np.zeros(num_classes, np.int64) for fate in TRUE_FATES}
        self.predicted_counts = {fate: np.zeros(num_classes, np.int64) for fate in PREDICTED_FATES}
        self.sizes = np.zeros((len(SIZES), 2), np.int64)

    def add(self, image: SegmentFates) -> None:
        """Count an image."""
        rows = np.flatnonzero(image.partners >= 0)
        np.add.at(self.pairs, (image.true_classes[rows], image.predicted_classes[image.partners[rows]]), 1)
        for codes, classes, counts in (
            (image.true_codes, image.true_classes, self.true_counts),
            (image.predicted_codes, image.predicted_classes, self.predicted_counts),
        ):
            size = len(self.pairs)
            added = np.bincount(codes * size + classes, minlength=len(counts) * size)  # the other fates come last
            for place, count in enumerate(counts.values()):
                count += added[place * size : (place + 1) * size]
        shown = image.true_codes != _TRUE_CODES[CROWD]
        sizes = np.searchsorted(_SIZE_LIMITS, image.areas, side="right")
        for column, members in enumerate((shown, image.true_codes == _TRUE_CODES[MATCHED])):
            self.sizes[:, column] += np.bincount(sizes[members], minlength=len(SIZES))

    def merge(self, other: "PanopticConfusion") -> None:
        """Add what another process has counted."""
        self.pairs += other.pairs
        self.sizes += other.sizes
        for mine, theirs in ((self.true_counts, other.true_counts), (self.predicted_counts, other.predicted_counts)):
            for fate, count in mine.items():
                count += theirs[fate]

    def to_plain(self, names: Sequence[str]) -> dict[str, Any]:
        """What a JSON file holds; of the pairs those that occur."""
        rows, columns = np.nonzero(self.pairs)
        return {
            "classes": list(names),
            "pairs": np.stack([rows, columns, self.pairs[rows, columns]], axis=1).tolist(),
            "true": {fate: count.tolist() for fate, count in self.true_counts.items()},
            "predicted": {fate: count.tolist() for fate, count in self.predicted_counts.items()},
            "sizes": self.sizes.tolist(),
        }

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "PanopticConfusion":
        """The inverse of `to_plain`.

        Raises:
            KeyError, TypeError, ValueError, IndexError: something else.
        """
        confusion = cls(len(content["classes"]))
        for row, column, count in content["pairs"]:
            confusion.pairs[row, column] = count
        for fates, counts in (("true", confusion.true_counts), ("predicted", confusion.predicted_counts)):
            for fate in counts:
                counts[fate] += np.array(content[fates][fate], np.int64)
        confusion.sizes += np.array(content["sizes"], np.int64)
        return confusion

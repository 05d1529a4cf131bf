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
MATCHED, CONFUSED = "matched", "confused"


@dataclass(frozen=True)
class SegmentFates:
    """The fates of the segments of one image.

    Attributes:
        true_fates: (G,) names, "crowd" for crowds; predicted_fates: (P,) names.
        partners: (G,) place of the predicted segment that a matched or confused one has, else -1.
        true_classes: (G,), predicted_classes: (P,) indices.
        areas: (G,) pixels of the true segments.
    """

    true_fates: np.ndarray
    predicted_fates: np.ndarray
    partners: np.ndarray
    true_classes: np.ndarray
    predicted_classes: np.ndarray
    areas: np.ndarray


def segment_fates(overlaps: np.ndarray, truth: Segments, predicted: Segments) -> SegmentFates:
    """The fates of the segments of an image.

    Args:
        overlaps: (G + 2, P + 2) of `panoptic_counts.count_overlaps`; every predicted segment has pixels.
    """
    shared, on_void = overlaps[1:-1, 1:-1], overlaps[0, 1:-1]  # (G, P), (P,)
    areas, predicted_areas = overlaps[1:-1].sum(1), overlaps[:, 1:-1].sum(0)  # (G,), (P,)
    same = truth.classes[:, None] == predicted.classes  # (G, P)
    shown = ~truth.crowd[:, None]
    unions = predicted_areas + areas[:, None] - shared - on_void
    alike = (2 * shared > unions) & shown  # (G, P), at most one in each row and column
    excused = 2 * (on_void + (shared * (same & ~shown)).sum(0)) > predicted_areas  # (P,)
    matched, confused = alike & same, alike & ~same & ~excused
    free_rows, free_columns = ~(matched | confused).any(1) & ~truth.crowd, ~(matched | confused).any(0) & ~excused
    covering = same & shown & (2 * shared > areas[:, None])  # (G, P): more than half of the true one
    inside = same & (2 * shared > predicted_areas) & free_rows[:, None] & free_columns  # of the predicted one
    split = (inside.sum(1) >= 2) & (2 * (shared * inside).sum(1) > areas)
    merging = covering.sum(0) >= 2
    merged = free_rows & (covering & merging).any(1)
    unseen = free_rows & (2 * overlaps[1:-1, 0] > areas)
    return SegmentFates(
        true_fates=np.select(
            [truth.crowd, matched.any(1), confused.any(1), split, merged, unseen],
            ["crowd", MATCHED, CONFUSED, "split", "merged", "void"],
            "missed",
        ),
        predicted_fates=np.select(
            [matched.any(0), excused, confused.any(0), (inside & split[:, None]).any(0), merging],
            [MATCHED, "void", CONFUSED, "part", "merging"],
            "hallucinated",
        ),
        partners=np.where((matched | confused).any(1), (matched | confused).argmax(1) if shared.shape[1] else 0, -1),
        true_classes=truth.classes,
        predicted_classes=predicted.classes,
        areas=areas,
    )


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
        for fates, classes, counts in (
            (image.true_fates, image.true_classes, self.true_counts),
            (image.predicted_fates, image.predicted_classes, self.predicted_counts),
        ):
            for fate, count in counts.items():
                count += np.bincount(classes[fates == fate], minlength=len(count))
        for row, (low, high) in enumerate(SIZES.values()):
            fates = image.true_fates[(low <= image.areas) & (image.areas < high)]
            self.sizes[row] += (int((fates != "crowd").sum()), int((fates == MATCHED).sum()))

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

"""PQ for every pair of panoptic thresholds, added up while the network runs once.

The model gives the map of each object threshold (`mask2former/panoptic_sweep.py`). One table of the pixels that queries
and true segments share is counted from each map; for every overlap threshold, columns of it are put together, and the
evaluator's own functions score them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from focalnet_d2.data.annotations.ids import Id
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.evaluation.panoptic import PanopticTruth
from focalnet_d2.evaluation.panoptic_counts import (
    ImageScore,
    PanopticCounts,
    Segments,
    panoptic_results,
    read_segments,
    score_segments,
)
from focalnet_d2.evaluation.panoptic_stats import checked_overlaps

STEPS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # candidates of both thresholds


class PanopticThresholds(NamedTuple):
    """A pair of settings of `model.inference.panoptic`."""

    object_mask_threshold: float
    overlap_threshold: float


def has_panoptic(model: nn.Module) -> bool:
    """Whether a model has panoptic thresholds that can be swept."""
    return hasattr(getattr(getattr(model, "inference", None), "panoptic", None), "sweep")


def thresholds_of(model: Any) -> PanopticThresholds:
    """Those that a model has now."""
    panoptic = model.inference.panoptic
    return PanopticThresholds(float(panoptic.object_mask_threshold), float(panoptic.overlap_threshold))


@contextmanager
def sweeping(model: Any, object_thresholds: Sequence[float]) -> Iterator[None]:
    """Inside, `panoptic_seg` of a result is the map of each threshold, and no semantic map is made."""
    inference = model.inference
    own = inference.panoptic, inference.semantic
    inference.panoptic, inference.semantic = inference.panoptic.sweep(object_thresholds), None
    try:
        yield
    finally:
        inference.panoptic, inference.semantic = own


class PanopticTally:
    """Counts of every pair of thresholds.

    Args:
        default: the model's own, which is among the candidates.
        class_of: contiguous id in the data by that of the model.
        classes: of the data.
    """

    def __init__(self, default: PanopticThresholds, class_of: Mapping[Id, int], classes: ClassMap):
        self.default, self.class_of, self.classes = default, class_of, classes
        self.objects, self.overlaps = (tuple(sorted({*STEPS, own})) for own in default)
        pairs = (PanopticThresholds(one, other) for one in self.objects for other in self.overlaps)
        self.counts = {pair: PanopticCounts(len(classes)) for pair in pairs}

    def add(self, swept: Mapping[float, Any], truth: PanopticTruth, where: str) -> None:
        """Count an image; `where` is what messages call its prediction."""
        scores: dict[int, list[ImageScore]] = {}  # of each overlap threshold, by the map: many thresholds share one
        for threshold, one in swept.items():
            if id(one) not in scores:
                scores[id(one)] = self._scores(one, truth, where)
            for overlap, score in zip(self.overlaps, scores[id(one)], strict=True):
                self.counts[PanopticThresholds(threshold, overlap)].add(score)

    def _scores(self, swept: Any, truth: PanopticTruth, where: str) -> list[ImageScore]:
        """For each overlap threshold; those with the same segments are scored once."""
        owners = swept.owners.cpu().numpy()
        places = _segments(np.zeros(len(swept.labels), np.int64))
        table = checked_overlaps(truth.map, owners, truth.segments, places, where, truth.file_name)
        known: dict[tuple[int, ...], ImageScore] = {}
        found = []
        for overlap in self.overlaps:
            ids, segments = swept.segments(overlap)
            if tuple(ids) not in known:
                predicted = read_segments(segments, self.class_of, where)
                joined = join_columns(table, ids, len(segments))
                known[tuple(ids)] = score_segments(joined, truth.segments, predicted, official=True)
            found.append(known[tuple(ids)])
        return found

    def quality(self, thresholds: PanopticThresholds) -> dict[str, float]:
        """PQ, SQ, RQ, ... in percent."""
        return panoptic_results(self.counts[thresholds], self.classes)

    def best(self) -> PanopticThresholds:
        """The pair with the highest PQ; of equal ones the default, else the nearest to it."""
        quality = {pair: self.quality(pair)["PQ"] for pair in self.counts}
        highest = max((value for value in quality.values() if not np.isnan(value)), default=np.nan)
        equal = [pair for pair, value in quality.items() if value == highest]
        return min(equal, key=lambda pair: sum(abs(a - b) for a, b in zip(pair, self.default)), default=self.default)


def join_columns(table: np.ndarray, ids: Sequence[int], count: int) -> np.ndarray:
    """Pixels that true and predicted segments share, from those that true segments and queries share.

    Args:
        table: (G + 2, Q + 2) of `count_overlaps`.
        ids: (Q,) segment of each query, 0 for none; count: segments P.

    Returns:
        (G + 2, P + 2), as of `count_overlaps`.
    """
    joined = np.zeros((len(table), count + 2), table.dtype)
    np.add.at(joined.T, [0, *ids, count + 1], table.T)
    return joined


def _segments(classes: np.ndarray) -> Segments:
    """Predicted segments with the ids 1, 2, ..., one for each query."""
    none = np.zeros(len(classes), bool)
    return Segments(np.arange(1, len(classes) + 1), classes, none, none, np.full(len(classes), np.nan))

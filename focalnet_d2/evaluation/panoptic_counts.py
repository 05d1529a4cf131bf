"""The maths of panoptic quality (arXiv:1801.00868, section 4): from two maps of segment ids to PQ, SQ and RQ.

A predicted and a true segment of one class match if their IoU is above 0.5. Two sets of rules exist side by side:

    official    as panopticapi counts, to the last bit: the area of a true segment is what the JSON says, and of several
                crowd segments of a class only the one listed last excuses a wrong prediction.
    corrected   areas are counted from the pixels, and all crowd segments of a class excuse.

Differs from panopticapi in how it counts: both maps are cut into runs of equal (true, predicted) pairs, which are added
up one by one where a compiler is, and by one weighted histogram elsewhere; panopticapi sorts all pixels.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from focalnet_d2.data.annotations.ids import Id
from focalnet_d2.data.class_map import ClassMap
from focalnet_d2.data.panoptic_labels import label_runs, locate
from focalnet_d2.data.panoptic_png import LARGEST_ID
from focalnet_d2.kernels import pair_counts

VOID = 0


@dataclass(frozen=True)
class Segments:
    """The S segments of an image in the order of their ids.

    Args:
        ids: (S,) ascending, above 0.
        classes: (S,) index of the class.
        crowd: (S,) whether it is a region of many objects.
        last_crowd: (S,) whether it is the crowd of its class that is listed last.
        areas: (S,) pixels as annotated, nan where the annotation has none.
    """

    ids: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    last_crowd: np.ndarray
    areas: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def read_segments(segments_info: Iterable[Mapping], index_of: Mapping[Id, int], where: str) -> Segments:
    """The segments of a list of `id`, `category_id` and, for a ground truth, `area` and `iscrowd`.

    Args:
        index_of: class index by category id.
        where: what the list belongs to, for messages.

    Raises:
        ValueError: an unknown category, an id twice, or one that is no id.
    """
    listed, last_crowd = {}, {}
    for segment in segments_info:
        number, index = _number_and_class(segment, index_of, where)
        if number in listed:
            raise ValueError(f"Segment {number} is listed twice in {where}.")
        crowd = bool(segment.get("iscrowd", False))
        listed[number] = (index, crowd, segment.get("area"))
        if crowd:
            last_crowd[index] = number
    ids = sorted(listed)
    columns = list(zip(*(listed[number] for number in ids))) or [(), (), ()]
    last = set(last_crowd.values())
    return Segments(
        ids=np.array(ids, np.int64),
        classes=np.array(columns[0], np.int64),
        crowd=np.array(columns[1], bool),
        last_crowd=np.array([number in last for number in ids], bool),
        areas=np.array(columns[2], np.float64),  # None becomes nan
    )


def _number_and_class(segment: Mapping, index_of: Mapping[Id, int], where: str) -> tuple[int, int]:
    number, category = (_as_id(segment.get(key)) for key in ("id", "category_id"))
    if not isinstance(number, int) or not VOID < number <= LARGEST_ID:
        raise ValueError(
            f"Segment id {segment.get('id')!r} of {where} must be a whole number, 1 to {LARGEST_ID}; {VOID} is void."
        )
    if category is None or category not in index_of:
        raise ValueError(f"Segment {number} of {where} has the unknown category {segment.get('category_id')!r}.")
    return number, index_of[category]


def _as_id(value: Any) -> Id | None:
    """A whole number, whether of Python, NumPy or torch, or text as it is; None if it is neither."""
    if isinstance(value, str):
        return value
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


def count_overlaps(
    truth_map: np.ndarray, predicted_map: np.ndarray, truth: Segments, predicted: Segments
) -> np.ndarray:
    """Pixels that every pair of segments shares.

    Args:
        truth_map, predicted_map: (H, W) segment ids.
        truth, predicted: G true and P predicted segments.

    Returns:
        (G + 2, P + 2) int64: void first, then the segments, last the ids that no segment has.
    """
    if pair_counts.LIBRARY.load() is not None:
        return pair_counts.count_pairs(truth_map, predicted_map, truth.ids, predicted.ids)
    (truth_ids, predicted_ids), lengths = label_runs(truth_map, predicted_map)
    shape = (len(truth) + 2, len(predicted) + 2)
    pairs = _slots(truth_ids, truth.ids) * shape[1] + _slots(predicted_ids, predicted.ids)
    pixels = np.bincount(pairs, weights=lengths, minlength=shape[0] * shape[1])
    return pixels.astype(np.int64).reshape(shape)


def _slots(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """0 for void, 1 + index for a listed id, 1 + their number for any other."""
    positions, found = locate(values, np.concatenate(([VOID], ids)))
    return np.where(found, positions, len(ids) + 1)


@dataclass(frozen=True)
class ImageScore:
    """What one image adds to the counts.

    Args:
        matched, ious: class and IoU of every match, in the order of (true id, predicted id).
        false: class of every predicted segment without a match that nothing excuses.
        missed: class of every true segment without a match.
    """

    matched: np.ndarray
    ious: np.ndarray
    false: np.ndarray
    missed: np.ndarray


def score_segments(overlaps: np.ndarray, truth: Segments, predicted: Segments, *, official: bool) -> ImageScore:
    """Match the segments of an image, maps (H, W) of ids.

    Args:
        overlaps: of `count_overlaps`; every predicted segment has pixels.
        official: follow panopticapi to the letter; otherwise the corrected rules.
    """
    shared = overlaps[1:-1, 1:-1]  # (G, P)
    predicted_areas = overlaps[:, 1:-1].sum(0)  # (P,)
    on_void = overlaps[0, 1:-1]  # (P,)
    areas = true_areas(overlaps, truth, official=official)
    same_class = truth.classes[:, None] == predicted.classes  # (G, P)
    rows, columns = np.nonzero((shared > 0) & same_class & ~truth.crowd[:, None])
    intersections = shared[rows, columns]
    unions = predicted_areas[columns] + areas[rows] - intersections - on_void[columns]
    with np.errstate(divide="ignore"):  # annotated areas that are too small
        ious = intersections / unions
    match = ious > 0.5
    rows, columns = rows[match], columns[match]
    excusing = truth.last_crowd if official else truth.crowd
    excused = on_void + (shared * (same_class & excusing[:, None])).sum(0)  # (P,)
    false = excused / predicted_areas <= 0.5
    false[columns] = False
    missed = ~truth.crowd
    missed[rows] = False
    return ImageScore(
        matched=truth.classes[rows], ious=ious[match], false=predicted.classes[false], missed=truth.classes[missed]
    )


def true_areas(overlaps: np.ndarray, truth: Segments, *, official: bool) -> np.ndarray:
    """(G,) areas of the true segments: as annotated where official and present, else counted."""
    counted = overlaps[1:-1].sum(1)
    return np.where(np.isnan(truth.areas), counted, truth.areas) if official else counted


class PanopticCounts:
    """Summed IoU of the matches, true positives, false positives and false negatives of K classes, each (K,)."""

    def __init__(self, num_classes: int) -> None:
        self.iou = np.zeros(num_classes)
        self.tp, self.fp, self.fn = np.zeros((3, num_classes), np.int64)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PanopticCounts):
            return NotImplemented
        return all(np.array_equal(mine, value) for mine, value in zip(vars(self).values(), vars(other).values()))

    __hash__ = None  # counts change

    def add(self, score: ImageScore) -> None:
        """Count an image; sums are taken match after match, as panopticapi takes them in one process."""
        np.add.at(self.iou, score.matched, score.ious)
        for counts, classes in ((self.tp, score.matched), (self.fp, score.false), (self.fn, score.missed)):
            counts += np.bincount(classes, minlength=len(counts))

    def merge(self, other: "PanopticCounts") -> None:
        """Add what another process counted."""
        for mine, theirs in zip(vars(self).values(), vars(other).values()):
            mine += theirs

    def to_dict(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """`{class name: {iou, tp, fp, fn}}`."""
        columns = {key: values.tolist() for key, values in vars(self).items()}
        return {name: {key: values[index] for key, values in columns.items()} for index, name in enumerate(names)}

    def qualities(self) -> np.ndarray:
        """(3, K) PQ, SQ and RQ of each class, fractions; nan for a class that neither occurs nor is predicted."""
        with np.errstate(invalid="ignore"):
            segments = self.tp + 0.5 * self.fp + 0.5 * self.fn
            sq = np.where(self.tp == 0, np.where(segments == 0, np.nan, 0.0), self.iou / self.tp)
            return np.stack([self.iou / segments, sq, self.tp / segments])


def panoptic_results(counts: PanopticCounts, classes: ClassMap) -> dict[str, float]:
    """PQ, SQ, RQ, the same of things (PQ_th) and stuff (PQ_st), and PQ-<class>, in percent.

    Means are over the classes that occur or are predicted, nan without any. A class that does neither has 0, as in
    panopticapi.
    """
    qualities = counts.qualities()
    things = np.array([entry.is_thing for entry in classes.classes], bool)
    groups = {"": np.ones_like(things), "_th": things, "_st": ~things}
    results = {}
    for suffix, members in groups.items():
        present = qualities[:, members & ~np.isnan(qualities[0])]  # (3, classes of the group)
        for metric, values in zip(("PQ", "SQ", "RQ"), present):
            # One after the other: a pairwise sum would differ from panopticapi's in the last bit.
            results[metric + suffix] = float(100 * (np.cumsum(values)[-1] / len(values))) if len(values) else np.nan
    return results | {f"PQ-{name}": float(100 * pq) for name, pq in zip(classes.names, np.nan_to_num(qualities[0]))}

"""The lowest score of objects of a class: the one with the best F1 at IoU 0.5."""

from typing import NamedTuple

import numpy as np

from focalnet_d2.evaluation.coco_backends import ClassMatches


class BestScore(NamedTuple):
    """A lowest score, and the F1 of the objects that have at least that; nan where there is nothing to find."""

    threshold: float
    f1: float


def f1_at(matches: ClassMatches, threshold: float) -> float:
    """Of the detections with at least this score; nan for a class without objects."""
    if not matches.objects:
        return float("nan")
    kept = matches.scores >= np.float32(threshold)  # as scores are compared in `read_result`
    return float(2 * matches.right[kept].sum() / (kept.sum() + matches.objects))


def best_score(matches: ClassMatches, default: float) -> BestScore:
    """The best of all thresholds; the default where none is better, else the highest of those that are equally good.

    A class without objects keeps the default.
    """
    best = BestScore(default, f1_at(matches, default))
    if not len(matches.scores) or not matches.objects:
        return best
    last = np.flatnonzero(np.append(np.diff(matches.scores) != 0, True))  # of each group of equal scores
    f1 = 2 * np.cumsum(matches.right)[last] / (last + 1 + matches.objects)
    place = int(f1.argmax())  # the first, which has the highest score
    return BestScore(float(matches.scores[last[place]]), float(f1[place])) if f1[place] > best.f1 else best

"""The best lowest score of a class, against all of them."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.evaluation.coco_backends import ClassMatches
from focalnet_d2.inference.tuning_scores import best_score, f1_at

SCORES = [0.125, 0.25, 0.5, 0.75, 1.0]


@st.composite
def matches(draw) -> ClassMatches:
    found = sorted(
        draw(st.lists(st.tuples(st.sampled_from(SCORES), st.booleans()), max_size=12)), key=lambda one: -one[0]
    )
    right = np.array([is_right for _, is_right in found], bool)
    scores = np.array([score for score, _ in found], float)
    return ClassMatches(scores, right, int(right.sum()) + draw(st.integers(0, 3)))


def counted_f1(one: ClassMatches, threshold: float) -> float:
    right = sum(bool(is_right) for score, is_right in zip(one.scores, one.right) if score >= threshold)
    wrong = sum(not is_right for score, is_right in zip(one.scores, one.right) if score >= threshold)
    return 2 * right / (2 * right + wrong + one.objects - right)


@given(matches(), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
def test_none_is_better(one, default):
    found = best_score(one, default)
    if not one.objects:
        assert found.threshold == default
        assert math.isnan(found.f1)
        return
    candidates = {threshold: counted_f1(one, threshold) for threshold in [*SCORES, default]}
    highest = max(candidates.values())
    assert found.f1 == candidates[found.threshold] == f1_at(one, found.threshold) == highest
    if candidates[default] == highest:
        assert found.threshold == default
    else:  # of equal ones the highest that is the score of a detection
        same = [score for score in one.scores if candidates[score] == highest]
        assert found.threshold == max(same)


def test_by_hand():
    one = ClassMatches(np.array([0.9, 0.8, 0.4, 0.3]), np.array([True, False, True, False]), 2)
    assert best_score(one, 0.5) == (0.4, 0.8)  # two of three are right, and nothing is missing
    assert best_score(one, 0.35) == (0.35, 0.8)

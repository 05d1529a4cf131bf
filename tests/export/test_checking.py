"""A written file is refused where it gives other values, and not where two nearly equal rows have changed places."""

import numpy as np
import pytest

from focalnet_d2.export.checking import largest_difference


@pytest.fixture
def boxes() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 100, (2, 50, 4)).astype(np.float32)


def test_equal_values_are_no_difference(boxes):
    assert largest_difference({"boxes": boxes}, {"boxes": boxes.copy()}, 1e-3) == 0


def test_rows_may_change_places_but_values_may_not(boxes):
    swapped = boxes.copy()
    swapped[:, [3, 4]] = boxes[:, [4, 3]]
    assert largest_difference({"boxes": swapped}, {"boxes": boxes}, 1e-3) == 0
    swapped[1, 3, 2] += 1
    with pytest.raises(ValueError, match="The file's boxes is 0.0"):
        largest_difference({"boxes": swapped}, {"boxes": boxes}, 1e-3)
    moved = boxes[::-1]  # rows of the other image are no remedy
    with pytest.raises(ValueError, match="The file's boxes is"):
        largest_difference({"boxes": moved}, {"boxes": boxes}, 1e-3)


def test_suppression_may_decide_otherwise_in_few_rows(boxes):
    flipped = boxes.copy()
    flipped[0, 10:] = np.concatenate([[[0, 0, 500, 500]], boxes[0, 10:-1]])  # one more box moves the rest by a row
    assert largest_difference({"boxes": flipped}, {"boxes": boxes}, 1e-3, flips=0.02) == 0
    with pytest.raises(ValueError, match="The file's boxes is"):
        largest_difference({"boxes": flipped}, {"boxes": boxes}, 1e-3)
    flipped[1, :3] = 500
    with pytest.raises(ValueError, match="The file's boxes is"):
        largest_difference({"boxes": flipped}, {"boxes": boxes}, 1e-3, flips=0.02)


def test_other_shapes_and_values_that_are_not_finite(boxes):
    with pytest.raises(ValueError, match="it fits one size only"):
        largest_difference({"boxes": boxes[:1]}, {"boxes": boxes}, 1e-3)
    with pytest.raises(ValueError, match="it fits one size only"):
        largest_difference({"scores": boxes}, {"boxes": boxes}, 1e-3)
    with pytest.raises(ValueError, match="NaN or infinite"):
        largest_difference({"boxes": np.full_like(boxes, np.nan)}, {"boxes": boxes}, 1e-3)

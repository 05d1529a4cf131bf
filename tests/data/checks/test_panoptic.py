"""Pixels of segments, counted in one pass, against counting one segment after the other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from focalnet_d2.data.checks.panoptic import Extent, extents_of

maps = arrays.arrays(
    np.int32, st.tuples(st.integers(1, 9), st.integers(1, 12)), elements=st.sampled_from([0, 1, 5, 300, 256**3 - 1])
)


def counted(ids):
    found = {}
    for number in set(ids.reshape(-1).tolist()) - {0}:
        rows, columns = np.nonzero(ids == number)
        left, top = int(columns.min()), int(rows.min())
        box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
        found[number] = Extent(len(rows), box)
    return found


@settings(max_examples=120)
@given(ids=maps)
def test_extents_are_those_that_counting_gives(ids):
    assert extents_of(ids) == counted(ids)

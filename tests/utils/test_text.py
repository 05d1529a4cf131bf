"""Lists in sentences."""

import numpy as np
import pytest

from focalnet_d2.utils.text import counted, plural, some_of


@pytest.mark.parametrize(
    ("items", "limit", "text"),
    [
        ([], 3, ""),
        (["a"], 3, "a"),
        (["a", "b", "c"], 3, "a, b, c"),
        (["a", "b", "c", "d"], 3, "a, b, c and 1 more"),
        ("abcdefg", 5, "a, b, c, d, e and 2 more"),
        (iter([3, 4]), 1, "3 and 1 more"),
        (np.arange(3), 3, "0, 1, 2"),
    ],
)
def test_no_more_than_the_limit_are_named_and_the_rest_is_counted(items, limit, text):
    assert some_of(items, limit) == text


def test_counted_things_are_numbered_and_named():
    assert counted(iter("abcde")) == "5 (a, b, c and 2 more)"
    assert counted([1], limit=1) == "1 (1)"


def test_all_but_one_have_an_s():
    assert [plural(count, "image") for count in (0, 1, 2)] == ["0 images", "1 image", "2 images"]

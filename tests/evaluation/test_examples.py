"""The best and worst images that evaluations keep: the same few in any order and over any number of processes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.evaluation.examples import LONGEST_SIDE, Examples, map_as_text, map_from_text, shrunk


def examples_of(pairs, kept=3):
    examples = Examples(kept)
    for image_id, value in pairs:
        examples.add(image_id, value, lambda: {"file_name": f"{image_id}.jpg"})  # noqa: B023 - called at once
    return examples


def content(examples, tmp_path):
    examples.write(tmp_path, "some")
    return json.loads((tmp_path / "some_examples.json").read_text())


@settings(max_examples=30)
@given(st.dictionaries(st.integers(0, 99), st.sampled_from([0.0, 0.25, 0.5, 1.0, float("nan")])), st.randoms())
def test_order_and_processes_do_not_matter(tmp_path_factory, values, random):
    folder = tmp_path_factory.mktemp("examples")
    pairs = list(values.items())
    wanted = sorted((value, str(key), key) for key, value in pairs if value == value)
    random.shuffle(pairs)
    first, second = examples_of(pairs[::2]), examples_of(pairs[1::2] + pairs[:1])  # one image in both
    first.merge(second)
    for examples in (first, examples_of(pairs)):
        found = content(examples, folder)
        assert [one["image_id"] for one in found["worst"]] == [key for *_, key in wanted[:3]]
        best = sorted(wanted, key=lambda one: (-one[0], one[1]))[:3]
        assert [one["image_id"] for one in found["best"]] == [key for *_, key in best]


def test_only_what_is_kept_is_described():
    described = []
    examples = Examples(1)
    for image_id, value in enumerate((0.5, 0.6, 0.55, 0.4)):
        examples.add(image_id, value, lambda image_id=image_id: described.append(image_id) or {})
    assert described == [0, 1, 3]


@pytest.mark.parametrize("shape", [(1, 1), (3, 1000), (720, 360), (500, 499)])
def test_a_map_survives_as_text_and_is_small(shape):
    values = np.random.RandomState(0).randint(0, 256**3, shape)
    small = shrunk(values)
    assert max(small.shape) <= LONGEST_SIDE
    assert np.array_equal(map_from_text(map_as_text(values)), small)
    if max(shape) <= LONGEST_SIDE:
        assert np.array_equal(small, values)


def test_damaged_text_is_refused():
    with pytest.raises(ValueError, match="cannot be read"):
        map_from_text("AAAA")

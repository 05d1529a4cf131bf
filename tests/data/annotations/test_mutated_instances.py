"""COCO instances files with something changed at random: a result or one error that names the file, and training and
scoring agree which."""

import json
import math
import random
import re

import pytest

from tests.data.annotations.coco_file import NAME, content, train, truth, write
from tests.fuzzing import fuzz_count

VALUES = (
    *(None, True, False, 0, 1, -1, 7, 2.5, math.nan, math.inf, 10**30, "", "1", "x", [], [[]], {}, [1], [[1, 2, 3, 4]]),
    *([1, 2, 3, 4], ["1", 2, 3, 4], [0, 0, 0, 0], {"size": [12, 16], "counts": "1"}, {"counts": [192]}),
)
NEEDED_BY_TRAINING = re.compile(r"images (without|have a) (file_name|height|width)")


def places(value, where=()):
    """Every list and dict within a JSON value."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from places(inner)


def mutate(random_numbers, changed):
    """Changes, removes, doubles or renames one thing somewhere; returns the text of the file."""
    place = random_numbers.choice([place for place in places(changed) if place])
    key = random_numbers.choice(list(place) if isinstance(place, dict) else range(len(place)))
    action = random_numbers.choice(["change", "change", "change", "remove", "copy", "rename", "cut"])
    if action == "change":
        place[key] = random_numbers.choice(VALUES)
    elif action == "copy":
        place[key] = random_numbers.choice(list(places(content())))
    elif action == "remove" or isinstance(place, list):
        del place[key]
    elif action == "rename":
        place[f"{key} "] = place.pop(key)
    text = json.dumps(changed)
    return text[: random_numbers.randrange(len(text))] if action == "cut" else text


def outcome(read, path, masks):
    """None where the file is read, else the message of its error."""
    try:
        read(path, masks)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("seed", range(fuzz_count(40)))
def test_a_mutated_file_is_read_or_refused_alike(tmp_path, seed, masks):
    path = write(tmp_path, mutate(random.Random(seed), content()))
    in_training, in_scoring = outcome(train, path, masks), outcome(truth, path, masks)
    assert all(message is None or "truth.json" in message or NAME in message for message in (in_training, in_scoring))
    if in_training is None or not NEEDED_BY_TRAINING.search(in_training):
        assert (in_training is None) == (in_scoring is None), (in_training, in_scoring)

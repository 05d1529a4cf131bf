"""Whatever a JSON holds, its folder is read, or refused by a sentence."""

import copy
import json
import random

import pytest

from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.folders.image_lists import read_part
from tests.data.folders.folder_sets import write_coco, write_panoptic
from tests.fuzzing import fuzz_count

ODD_VALUES = (None, [], {}, "", -1, 1.5, True, "x", [1], {"a": 1}, float("inf"), "\0", "\ud800")


def places(content, above=()):
    """The way to every value of a JSON."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from places(value, (*above, key))


def damaged(content, random_numbers):
    """A copy in which one value is another, or is missing."""
    content = copy.deepcopy(content)
    *above, last = random_numbers.choice(list(places(content)))
    owner = content
    for key in above:
        owner = owner[key]
    if isinstance(owner, dict) and random_numbers.random() < 0.2:
        del owner[last]
    else:
        owner[last] = random_numbers.choice(ODD_VALUES)
    return content


def outcome(root, layout):
    """ "" for a folder that is read, else why it is refused."""
    try:
        for dataset in find_datasets(root, layout=layout):
            for part in dataset.parts:
                read_part(dataset, part)
    except UnicodeError:
        raise
    except (ValueError, FileNotFoundError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("layout", ["coco", "coco-panoptic"])
def test_one_odd_value(tmp_path, layout):
    if layout == "coco":
        write_coco(tmp_path, "train.json", ["a.jpg", "b.jpg"])
        file = tmp_path / "train.json"
    else:
        write_panoptic(tmp_path, "train")
        file = tmp_path / "annotations/panoptic_train.json"
    content, random_numbers = json.loads(file.read_text()), random.Random(0)
    refusals = []
    for _ in range(fuzz_count(150)):
        file.write_text(json.dumps(damaged(content, random_numbers)))
        if reason := outcome(tmp_path, layout):
            refusals.append(reason)
    assert 20 < len(refusals) < fuzz_count(150)
    assert [reason for reason in refusals if not reason.rstrip().endswith((".", ")", "?"))] == []


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_validation_file_that_breaks_off_is_not_left_out(tmp_path, share):
    for part in ("train", "val"):
        write_coco(tmp_path, f"{part}.json", ["a.jpg", "b.jpg"])
    text = (tmp_path / "val.json").read_text()
    length = max(len('{"images": ['), int(share * len(text)))
    (tmp_path / "val.json").write_text(text[:length])
    with pytest.raises(ValueError, match=r"val\.json is not valid JSON"):
        find_datasets(tmp_path)

"""Parts of big COCO files are packed records equal to those of the list, whatever is left out or changed."""

import logging
import pickle
import random
from dataclasses import replace

import pytest

from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.class_map import class_map
from focalnet_d2.data.folders.dataset import FolderDataset, Part, Split
from focalnet_d2.data.folders.image_lists import write_lists
from focalnet_d2.data.folders.layouts import LAYOUTS
from focalnet_d2.data.folders.records import load_records
from focalnet_d2.data.packed.records import PackedRecords
from focalnet_d2.data.record_choice import object_counts, with_found_boxes
from tests.data.packed.coco_content import content, write
from tests.data.packed.conftest import own_cache, pack_all  # noqa: F401
from tests.fuzzing import fuzz_count


def outcome(dataset, part, changes):
    """The records of a part, or the message of the error that there is instead."""
    try:
        return load_records(dataset, part, changes)
    except (ValueError, FileNotFoundError) as error:
        return str(error)


def named(draw, value, folder):
    """Gives the images names as tools write them, and some of them a file that is found by its base name alone."""
    for number, image in enumerate(value["images"]):
        name = draw.choice([f"{number}.jpg", f"sub/{number}.jpg"])
        path = folder / draw.choice([name, f"deep/{number}.jpg"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        image["file_name"] = draw.choice(["", "", "./", "C:\\", "/"]) + draw.choice([name, name.replace("/", "\\")])
    if draw.random() < 0.1:
        value["images"][0]["file_name"] = value["images"][-1]["file_name"]


def changes_of(draw, names):
    """Classes renamed, merged and dropped; some changes are refused."""
    one, *others = draw.sample(names, len(names))
    return draw.choice(
        [
            ClassChanges(),
            ClassChanges(rename={one: "other"}),
            ClassChanges(drop=[one]),
            ClassChanges(merge={"both": [one, *others[:1]]}, drop=others[1:2]),
            ClassChanges(merge={one: others}),
        ]
    )


def drawn_dataset(draw, folder):
    """A file in the layout of COCO, and what has to be known of it."""
    value = content(draw)
    named(draw, value, folder)
    categories = draw.sample(value["categories"], len(value["categories"]))  # some other order than that of the ids
    options = {"search": True} if draw.random() < 0.3 else {}
    if len(categories) > 1 and draw.random() < 0.4:
        unused = categories.pop()["id"]
        options["unused_categories"] = [unused]
        if draw.random() < 0.7:
            value["annotations"] = [one for one in value["annotations"] if one["category_id"] != unused]
    elif len(categories) > 1 and draw.random() < 0.1:
        categories.pop()  # the file has changed since
    part = Part(str(folder), str(write(folder / "truth.json", draw, value)), options)
    classes = class_map([one["id"] for one in categories], [one["name"] for one in categories])
    split = draw.choice([None, Split(), Split(share=0.5, groups=r"(\d)\.jpg")])
    return FolderDataset(str(folder), "coco", "instances", {"train": part, "val": part}, classes, split=split)


def listed(draw, dataset, folder):
    """The data set with the list of its split, or one of the hand of a user."""
    if draw.random() < 0.4:
        path = folder / "own.txt"
        path.write_text(draw.choice(["0.jpg\n", "sub/0.jpg\n", "deep/0.jpg\n", "none.jpg\n", "\n"]))
        val = replace(dataset.parts["val"], image_list=str(path))
        return replace(dataset, parts={**dataset.parts, "val": val})
    try:
        return write_lists(dataset, folder / "run")
    except ValueError:
        return dataset


@pytest.mark.parametrize("seed", range(fuzz_count(80)))
def test_packed_parts_equal_listed_ones(tmp_path, caplog, pack_all, seed):  # noqa: F811
    draw = random.Random(seed)
    dataset = drawn_dataset(draw, tmp_path)
    changes = changes_of(draw, dataset.classes.names)
    own = listed(draw, dataset, tmp_path)
    expected = {part: outcome(own, part, changes) for part in own.parts}
    pack_all(draw.choice([40, 700, 10**6]))
    with caplog.at_level(logging.DEBUG, "focalnet_d2.data.packed"):
        found = {part: outcome(own, part, changes) for part in own.parts}
    at_once = any("is read at once" in message for message in caplog.messages)
    for part, records in found.items():
        if isinstance(records, str) or at_once:
            assert repr(records) == repr(expected[part])
            continue
        assert isinstance(records, PackedRecords)
        assert [repr(one) for one in records] == [repr(one) for one in expected[part]]
        check_questions(records, expected[part], len(dataset.classes))


def check_questions(records, expected, classes):
    """Other processes get the same, and what is asked without making dicts has the same answer."""
    assert [repr(one) for one in pickle.loads(pickle.dumps(records))] == [repr(one) for one in expected]
    assert records.file_names() == [one["file_name"] for one in expected]
    assert object_counts(records).tolist() == object_counts(expected).tolist()
    assert [repr(one) for one in with_found_boxes(records)] == [repr(one) for one in with_found_boxes(expected)]
    counted = [0] * classes
    for one in (one for record in expected for one in record["annotations"] if not one.get("iscrowd", 0)):
        counted[one["category_id"]] += 1
    assert records.class_counts(classes) == counted


@pytest.mark.parametrize("seed", range(fuzz_count(10)))
def test_lists_of_a_split_are_the_same(tmp_path, pack_all, seed):  # noqa: F811
    draw = random.Random(seed)
    dataset = replace(drawn_dataset(draw, tmp_path), split=Split(seed=seed))

    def lists(run):
        try:
            written = write_lists(dataset, tmp_path / run)
        except ValueError as error:
            return str(error)
        return [open(part.image_list).read() for part in written.parts.values()]

    expected = lists("a")
    pack_all(700)
    assert lists("b") == expected


def test_classes_are_changed_one_after_the_other(tmp_path, pack_all):  # noqa: F811
    draw = random.Random(1)
    value = content(draw)
    value["categories"] = [{"id": key, "name": str(key)} for key in (3, 5, 9)]
    for number, one in enumerate(value["annotations"]):
        one["category_id"] = (3, 5, 9)[number % 3]
        one.update(iscrowd=0)
    path = write(tmp_path / "truth.json", draw, value)
    pack_all(300)
    records = LAYOUTS["coco"].read_packed(Part(str(tmp_path), str(path))).records
    first, _, third = counts = records.class_counts(3)
    assert 0 not in counts
    assert records.with_classes([1, -1, 0]).with_classes([2, 0]).class_counts(3) == [third, 0, first]

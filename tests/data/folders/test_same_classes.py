"""Class lists that contradict each other: one list of all names, and what the ids of each file become in it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.annotations.faults import FaultError
from focalnet_d2.data.folders.finding import find_datasets
from focalnet_d2.data.folders.layouts import LAYOUTS
from focalnet_d2.data.folders.same_classes import one_list
from tests.data.checks.label_sets import instances, write_instances

ROWS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["cat", "dog", "cow", "cat "])), min_size=1, max_size=5)


@given(ROWS, ROWS)
@settings(max_examples=80, deadline=None)
def test_every_class_of_every_file_is_found_by_its_name(first, second):
    lists = {"a.json": first, "b.json": second}
    found = one_list(lists)
    names = {entry.dataset_id: entry.name.strip() for entry in found.classes.classes}
    assert sorted(names.values()) == sorted(set(names.values()))
    for file, rows in lists.items():
        for place, (key, name) in enumerate(rows):
            others = [other for same, other in rows[:place] if same == key]
            if not others or others[0].strip() == name.strip():  # of two names of an id of one file the first stays
                assert names[found.other_ids[file].get(key, key)] == name.strip()
    pairs = {(key, name.strip()) for key, name in first + second}
    agree = len(pairs) == len(names) == len({key for key, _ in pairs})
    assert bool(found.faults) != agree
    assert all(found.other_ids.values()) <= bool(found.faults)


def test_text_ids_get_text_ids():
    found = one_list({"a.json": {"n1": "cat"}, "b.json": {"n1": "dog"}})
    assert found.classes.names == ["dog", "cat"]
    assert found.other_ids == {"a.json": {}, "b.json": {"n1": "class 2"}}


def test_training_refuses_what_the_check_goes_on_with(tmp_path):
    write_instances(tmp_path, lambda c: c["categories"].append({"id": 12, "name": "owl"}))
    other = instances()
    other["categories"][0]["name"] = "cow"
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(other))
    with pytest.raises(FaultError, match=r"\(4, 'owl'\) and \(12, 'owl'\) \(id, name\) have the same name; give each"):
        find_datasets(tmp_path)
    faults = []
    (dataset,) = find_datasets(tmp_path, report=faults.append)
    assert [(fault.kind, fault.ids) for fault in faults] == [
        ("duplicate-category-name", ("4", "12")),
        ("contradicting-categories", ("4",)),
    ]
    content = LAYOUTS["coco"].read(dataset.parts["val"], faults.append)
    cow = dataset.classes.names.index("cow")
    assert content.class_names == {13: "cow", 9: "fox"}
    assert dataset.classes.classes[cow].dataset_id == 13
    assert {entry["category_id"] for entry in content.annotations} == {9, 13}

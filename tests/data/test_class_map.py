"""The class list: what it takes, what it refuses, and its plain form."""

import itertools
import json

import pytest
import yaml
from detectron2.data import MetadataCatalog
from hypothesis import given

from focalnet_d2.data.class_map import ClassMap, category_classes, class_map, distinct_color
from focalnet_d2.data.class_metadata import class_metadata, metadata_classes
from tests.data.class_lists import class_maps


@given(class_maps())
def test_every_id_has_its_place_and_the_plain_form_gives_all_back(classes):
    assert [classes.classes[place].dataset_id for place in classes.contiguous.values()] == list(classes.contiguous)
    assert list(classes.contiguous.values()) == list(range(len(classes)))
    assert [name for name, entry in zip(classes.names, classes.classes, strict=True) if entry.is_thing] == [
        classes.names[place] for place in classes.thing_ids
    ]
    plain = classes.to_plain()
    for copy in (json.loads(json.dumps(plain)), yaml.safe_load(yaml.safe_dump(plain))):
        again = ClassMap.from_plain(copy)
        assert again == classes
        assert list(map(type, again.contiguous)) == list(map(type, classes.contiguous))


@given(class_maps())
def test_the_metadata_of_every_kind_give_the_list_back(classes):
    for kind, flag in (("instances", True), ("classification", True), ("semantic", False), ("panoptic", None)):
        kept = classes if flag is None else class_map(list(classes.contiguous), classes.names, things=flag)
        name = "one_class_list"
        MetadataCatalog.pop(name, None)
        metadata = MetadataCatalog.get(name).set(**class_metadata(kept, kind))
        if kind == "panoptic" and not classes.thing_ids:
            assert metadata.thing_dataset_id_to_contiguous_id == {}
        assert metadata_classes(metadata) == kept


def test_metadata_of_others_say_what_they_say():
    MetadataCatalog.pop("of_others", None)
    metadata = MetadataCatalog.get("of_others")
    assert metadata_classes(metadata) is None
    metadata.thing_classes = ["cat", "dog"]
    assert metadata_classes(metadata) == class_map([0, 1], ["cat", "dog"])
    metadata.thing_dataset_id_to_contiguous_id = {7: 1, 9: 0}
    assert metadata_classes(metadata) == class_map([9, 7], ["cat", "dog"])
    metadata.stuff_classes = ["cat", "dog", "sky"]
    with pytest.raises(ValueError, match="of_others has 3 class names, but category ids for other classes"):
        metadata_classes(metadata)


@pytest.mark.parametrize(
    ("ids", "names", "message"),
    [
        ([], [], "A class list is empty"),
        ([1, 1, 2], ["a", "b", "c"], "Classes with the same id: 1"),
        ([1, "2"], ["a", "b"], "whole numbers and text for ids"),
        ([1.0], ["a"], "neither a whole number nor text: 1.0"),
        ([True], ["a"], "neither a whole number nor text: True"),
        ([1, 2, 3], ["cat", "dog", "cat "], "Classes with the same name: 'cat'"),
        ([4, 5, 6], ["cat", "", "  "], "no name, those with the ids 5, 6"),
    ],
)
def test_lists_that_mean_nothing_are_refused(ids, names, message):
    with pytest.raises(ValueError, match=message):
        class_map(ids, names)


@pytest.mark.parametrize(
    "rows",
    [
        3,
        [1],
        [[1, "cat", True]],
        [[1, "cat", "no", [0, 0, 0]]],
        [[1, "cat", True, [0, 0]]],
        [[1, "cat", True, [0, 0, 256]]],
        [[1, "cat", True, "red"]],
        [[1, "cat", True, None]],
    ],
)
def test_a_plain_form_that_is_damaged_is_refused(rows):
    with pytest.raises(ValueError, match=r"no list of classes \(id, name, thing or not, color\)"):
        ClassMap.from_plain(rows)


@pytest.mark.parametrize("color", [None, "red", [1, 2], [0, 0, 256], ["a", "b", "c"]])
def test_categories_are_a_class_list_whatever_their_colors_are(color):
    categories = [
        {"id": 9, "name": "cat", "isthing": 1, "color": [1, 2, 3]},
        {"id": 4, "name": "sky", "isthing": 0, "color": color},
    ]
    assert category_classes(categories) == class_map([9, 4], ["cat", "sky"], things=[True, False])
    categories[1]["color"] = [4, 5, 6]
    assert category_classes(categories).colors == [(1, 2, 3), (4, 5, 6)]


def test_colors_of_neighbors_differ():
    colors = [distinct_color(index) for index in range(200)]
    assert len(set(colors)) == 200
    assert all(max(abs(a - b) for a, b in zip(one, other)) > 40 for one, other in itertools.pairwise(colors))
    assert class_map([1], ["cat"], colors=[(1, 2, 3)]).colors == [(1, 2, 3)]

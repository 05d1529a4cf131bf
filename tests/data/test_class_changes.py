"""Classes renamed, merged and dropped."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.class_map import class_map
from tests.data.class_lists import class_maps

FILES = class_map([1, 4, 9, 20, 1001], ["car", "truck", "dog", "sea", "sky "], things=[True, True, True, False, False])


@st.composite
def changes_of(draw, names):
    """What becomes of each class by its place: itself, a new name, nothing, or a part of one of two new classes."""
    fates = st.sampled_from(["keep", "rename", "drop", "one", "two"])
    fate = {name: draw(fates) for name in names}
    return ClassChanges(
        rename={name: f"new {name}" for name in names if fate[name] == "rename"},
        merge={target: parts for target in ("one", "two") if (parts := [n for n in names if fate[n] == target])},
        drop=[name for name in names if fate[name] == "drop"],
    )


@given(st.data())
def test_every_object_of_the_files_is_of_one_class_or_of_none(data):
    classes = data.draw(class_maps())
    classes = class_map(list(classes.contiguous), classes.names)  # things alone may be merged at will
    changes = data.draw(changes_of(classes.names))
    assume(len(changes.drop) < len(classes))
    changed, new_ids = changes.changed(classes), changes.new_ids(classes)
    assert list(new_ids) == list(classes.contiguous)
    names = {entry.dataset_id: entry.name for entry in changed.classes}
    for entry in classes.classes:
        new_id = new_ids[entry.dataset_id]
        assert (None if new_id is None else names[new_id]) == changes.new_name(entry.name)
    assert set(new_ids.values()) - {None} == set(names), "no class of the new list is without a class of the files"
    places = [classes.contiguous[entry.dataset_id] for entry in changed.classes]
    assert places == sorted(places), "the order of the files is kept"
    if not changes:
        assert changed == classes


def test_a_merged_class_is_the_one_of_its_name_else_the_first():
    changed = ClassChanges(merge={"vehicle": ["truck", "car"]}).changed(FILES)
    assert [(one.dataset_id, one.name) for one in changed.classes][:2] == [(1, "vehicle"), (9, "dog")]
    assert changed.colors[0] == FILES.colors[0]
    for parts in (["car"], ["car", "truck"]):
        changes = ClassChanges(merge={"truck": parts})
        assert [(one.dataset_id, one.name) for one in changes.changed(FILES).classes][:2] == [(4, "truck"), (9, "dog")]
        assert changes.new_ids(FILES) == {1: 4, 4: 4, 9: 9, 20: 20, 1001: 1001}


def test_names_may_be_swapped_and_handed_on():
    swapped = ClassChanges(rename={"car": "truck", "truck": "car"}).changed(FILES)
    assert [(one.dataset_id, one.name) for one in swapped.classes][:2] == [(1, "truck"), (4, "car")]
    handed_on = ClassChanges(rename={"car": "truck"}, drop=["truck"])
    assert handed_on.changed(FILES).names == ["truck", "dog", "sea", "sky "]
    assert handed_on.new_ids(FILES)[4] is None


def test_blanks_at_the_ends_of_a_name_do_not_count():
    changes = ClassChanges(rename={" car": "auto "}, merge={"sky": ["sea "]})
    assert changes.changed(FILES).names == ["auto", "truck", "dog", "sky"]
    assert changes.new_ids(FILES) == {1: 1, 4: 4, 9: 9, 20: 1001, 1001: 1001}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(rename={"cat": "dog"}), r"name 'cat', but the classes of the files are car, truck, dog, sea, sky: "),
        (dict(merge={"pet": ["cat", "dog"]}), "name 'cat'"),
        (dict(drop=["pet", "cat"]), "name 'pet', 'cat'"),
        (dict(rename={"car": "auto"}, drop=["car "]), "change 'car' twice"),
        (dict(merge={"auto": ["car", "car"]}), "change 'car' twice"),
        (dict(rename={"car": "dog"}), "give the name 'dog' to two classes"),
        (dict(rename={"car": "auto", "dog": "auto "}), "give the name 'auto' to two classes"),
        (dict(rename={"car": "auto"}, merge={"auto": ["dog"]}), "give the name 'auto' to two classes"),
        (dict(merge={"pet": []}), "names no class to make 'pet' of"),
        (dict(drop=["car", "truck", "dog", "sea", "sky"]), "leaves no class"),
        (dict(merge={"all": ["dog", "sea"]}), "makes 'all' of things and stuff"),
        (dict(merge={"sea": ["dog"]}), "makes 'sea' of things and stuff"),
        (dict(rename={"car": " "}), "no name, those with the ids 1"),
    ],
)
def test_changes_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ClassChanges(**changes).changed(FILES)

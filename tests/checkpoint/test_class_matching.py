"""Rows by name, for any two class lists: permuted, subsets, supersets, disjoint, renamed, merged, dropped."""

import shlex

import pytest
import torch
from detectron2.data import MetadataCatalog
from hypothesis import given
from hypothesis import strategies as st

from dino import checkpoint as dino
from focalnet_d2.checkpoint.class_matching import (
    ClassChoice,
    drop_setting,
    known_names,
    match_rows,
    names_to_match,
    strange_names,
)
from focalnet_d2.checkpoint.classes import RowMap, move_rows
from focalnet_d2.checkpoint.layout import ClassRows
from focalnet_d2.config.class_names import read_class_names
from focalnet_d2.data.class_changes import ClassChanges
from focalnet_d2.data.class_metadata import metadata_classes
from focalnet_d2.modeling.atss import checkpoint as atss
from focalnet_d2.modeling.rcnn import checkpoint as rcnn
from focalnet_d2.modeling.sparse_rcnn import checkpoint as sparse_rcnn
from focalnet_d2.modeling.upernet import checkpoint as upernet
from mask2former import checkpoint as mask2former

HEAD = ClassRows(("head.*",))
NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")
class_lists = st.lists(st.sampled_from(NAMES), unique=True, min_size=1)


def match(file, model, changes=None, new=True, table=HEAD) -> RowMap | None:
    return match_rows(
        table, len(file), len(model), file_names=file, model_names=model, new_classes=new, changes=changes
    )


def moved(file, model, changes=None, new=True) -> list[float] | None:
    """What stands in the model's rows: 1, 2, ... are rows of the file, -1, -2, ... fresh ones."""
    row_map = match(file, model, changes, new)
    if row_map is None:
        return None
    old, fresh = torch.arange(1.0, len(file) + 1), -torch.arange(1.0, len(model) + 1)
    return move_rows(old, fresh, row_map).tolist()


@given(class_lists, class_lists)
def test_a_class_of_both_lists_takes_its_row_and_the_others_stay_fresh(file, model):
    expected = [file.index(name) + 1.0 if name in file else -1.0 - place for place, name in enumerate(model)]
    assert moved(file, model) == expected
    strict = moved(file, model, new=False)
    assert strict == (expected if set(model) <= set(file) else None)
    assert strange_names(file, ClassChoice(model)) == [name for name in model if name not in file]


@given(class_lists, class_lists)
def test_the_note_names_every_class_once(file, model):
    note = match(file, model).note
    shared, fresh = [name for name in model if name in file], [name for name in model if name not in file]
    if fresh:
        taken = f" ({', '.join(shared)})" if shared else ""
        assert note == (
            f"classes taken from the file by name: {len(shared)}{taken}, new ones: {len(fresh)} ({', '.join(fresh)})"
        )
    else:
        assert note == ("" if file == model else f"{len(model)} of the file's {len(file)} class rows are taken by name")


@st.composite
def changed_lists(draw: st.DrawFn) -> tuple[list[str], ClassChanges, dict[str, str | None]]:
    """A list of a file, changes of some of the classes, and what becomes of each."""
    file = draw(class_lists)
    fate = {name: draw(st.sampled_from([name, f"new {name}", None, "pets", "bugs"])) for name in file}
    merge = {target: parts for target in ("pets", "bugs") if (parts := [n for n in file if fate[n] == target])}
    rename = {name: new for name, new in fate.items() if new == f"new {name}"}
    return file, ClassChanges(rename, merge, [name for name in file if fate[name] is None]), fate


@given(changed_lists(), st.randoms(use_true_random=False))
def test_changes_apply_to_rows_as_to_files(lists, random):
    file, changes, fate = lists
    model = sorted({name for name in fate.values() if name is not None} | {"yak"})
    random.shuffle(model)
    rows = {name: [file.index(old) + 1.0 for old in file if fate[old] == name] for name in model}
    expected = [sum(rows[name]) / len(rows[name]) if rows[name] else -1.0 - i for i, name in enumerate(model)]
    assert moved(file, model, changes) == pytest.approx(expected)
    assert moved(model, model, changes) == [place + 1.0 for place in range(len(model))], "the file has the list already"


def test_a_swap_goes_by_the_list_that_the_file_has():
    swap = ClassChanges(rename={"cat": "dog", "dog": "cat"})
    assert moved(["cat", "dog"], ["dog", "cat"], swap, new=False) == [1, 2], "of before: as the files are renamed"
    assert moved(["dog", "cat"], ["dog", "cat"], swap, new=False) == [1, 2], "of afterwards: as it is"


def test_a_class_of_the_very_name_goes_before_one_that_is_renamed_to_it():
    changes = ClassChanges(rename={"Hund": "dog"})
    assert moved(["Hund", "cat"], ["dog", "cat"], changes, new=False) == [1, 2]
    assert moved(["Hund", "dog", "cat"], ["dog", "cat"], changes, new=False) == [2, 3]
    handed_on = ClassChanges(rename={"Hund": "dog"}, drop=["dog"])
    assert moved(["Hund", "dog", "cat"], ["dog", "cat"], handed_on, new=False) == [1, 3]


def test_a_merged_class_that_the_file_has_too_is_one_of_its_parts():
    changes = ClassChanges(merge={"dog": ["fox", "elk"]})
    assert moved(["dog", "cat", "fox", "elk"], ["cat", "dog"], changes) == pytest.approx([2, (1 + 3 + 4) / 3])
    assert moved(["dog", "cat", "bee"], ["cat", "dog"], changes, new=False) == [2, 1]


def test_the_note_says_where_changed_classes_come_from():
    changes = ClassChanges(rename={"Hund": "dog"}, merge={"bug": ["ant", "bee"]})
    note = match(["ant", "bee", "Hund"], ["dog", "bug"], changes).note
    assert note == "2 of the file's 3 class rows are taken by name (dog from Hund, bug from ant and bee)"
    note = match(["ant", "bee", "Hund"], ["dog", "bug", "cat"], changes).note
    assert note.endswith("by name: 2 (dog from Hund, bug from ant and bee), new ones: 1 (cat)")


def test_blanks_at_the_ends_of_names_do_not_count():
    assert moved(["window ", "door"], ["door", "window"], new=False) == [2, 1]
    assert match(["window ", "door"], ["window", "door"]).note == ""


@pytest.mark.parametrize("name", ["Traffic Light", "traffic_light", "TRAFFIC-LIGHT", "trafficlight"])
def test_names_that_are_almost_those_of_the_file_are_suggested_and_not_taken(name):
    file, model = ["traffic light", "cat"], ["cat", name]
    assert moved(file, model) == [2, -2]
    assert match(file, model).note.endswith(
        f"new ones: 1 ({name}); {name!r} and the file's 'traffic light' differ only in case, blanks, _ or -: set "
        f"'data.rename={{{name}:traffic light}}' if they are the same"
    )
    message = rf"does not know {name}; {name!r} and .* differ only in case.*; evaluate it on data without them"
    with pytest.raises(ValueError, match=message):
        names_to_match(file, ClassChoice(model, rule="refuse"), "m.pth")


def test_settings_to_type_are_what_a_shell_and_the_reader_of_settings_take():
    file, model = ["man's hat", '19" wheel', "tie: bow", "cat"], ["Man's hat", '19" Wheel', "Tie: bow", "dog"]
    note = match(file, model).note
    typed = shlex.split(note.partition("set ")[2].partition(" if they are")[0])
    assert [override.partition("=")[0] for override in typed] == ["data.rename"]
    names = dict(zip(model[:3], file[:3]))
    assert read_class_names("data.rename", typed[0].partition("=")[2]) == names
    (drop,) = shlex.split(drop_setting(model))
    assert read_class_names("data.drop", drop.removeprefix("data.drop=")) == model


def test_long_lists_are_cut_in_the_note():
    file, model = [f"old {i}" for i in range(30)], [f"{'old' if i % 2 else 'new'} {i}" for i in range(30)]
    note = match(file, model).note
    assert "by name: 15 (old 1, old 3," in note
    assert note.count(" and 5 more)") == 2


# What becomes of other lists


@pytest.mark.parametrize("rule", ["refuse", "by_name", "by_position"])
def test_lists_that_are_the_same_need_no_rule(rule):
    for known, names in ((["a", "b"], ["a", "b"]), ([None, "a", None, "b "], ["a", "b"])):
        assert names_to_match(known, ClassChoice(names, rule=rule), "m.pth") == names
    renamed = ClassChoice(["b", "c"], rule=rule, changes=ClassChanges(rename={"a": "b", "b": "c"}))
    assert names_to_match(["a", "b"], renamed, "m.pth") == ["b", "c"]


@pytest.mark.parametrize(
    ("known", "names", "changes", "message"),
    [
        (["a", "b"], ["b", "a"], {}, r"\(the same classes in another order\): set train.other_class_names=by_name"),
        (["a", "b", "c"], ["a", "b"], {}, r"\(3 and 2 classes\): set train.other_class_names=by_name"),
        (["a", "b"], ["a", "b", "c"], {}, r"it does not know c; evaluate it on data without them \(data.drop\)"),
        (["a", "b"], ["m"], dict(merge={"m": ["a", "b"]}), r"\(2 and 1 classes\): set train.other_class_names=by_name"),
        (["a", "b"], ["a"], dict(drop=["b"]), r"\(2 and 1 classes\): set train.other_class_names=by_name"),
    ],
)
def test_lists_that_differ_are_refused_with_what_to_type(known, names, changes, message):
    choice = ClassChoice(names, rule="refuse", changes=ClassChanges(**changes))
    with pytest.raises(ValueError, match=f"m.pth was trained on the classes a, b.* the data has .*{message}"):
        names_to_match(known, choice, "m.pth")


def test_other_rules_go_by_name_or_by_position():
    assert names_to_match(["a"], ClassChoice(["b"]), "m.pth") == ["b"]
    assert names_to_match(["a"], ClassChoice(["b"], rule="by_position"), "m.pth") is None
    assert names_to_match(None, ClassChoice(["b"], rule="by_position"), "m.pth") is None
    assert names_to_match(None, ClassChoice(["b"], rule="refuse"), "m.pth") == ["b"]
    with pytest.raises(ValueError, match="other_class_names='maybe' must be one of refuse, by_name, by_position"):
        names_to_match(None, ClassChoice(rule="maybe"), "m.pth")


@pytest.mark.parametrize(
    ("layouts", "rows", "data"),
    [
        (dino.LAYOUTS, 91, "coco_2017_val"),
        (dino.LAYOUTS[1:], 80, "coco_2017_val"),
        (atss.LAYOUTS, 80, "coco_2017_val"),
        (sparse_rcnn.LAYOUTS, 80, "coco_2017_val"),
        (rcnn.LAYOUTS, 80, "coco_2017_val"),
        (upernet.LAYOUTS, 150, "ade20k_sem_seg_val"),
        (mask2former.LAYOUTS, 133, "coco_2017_val_panoptic"),
        (mask2former.LAYOUTS, 80, "coco_2017_val"),
        (mask2former.LAYOUTS, 150, "ade20k_panoptic_val"),
        (mask2former.LAYOUTS, 100, "ade20k_instance_val"),
    ],
)
def test_published_files_have_the_classes_of_the_data_that_they_were_trained_on(layouts, rows, data):
    classes = metadata_classes(MetadataCatalog.get(data))
    known = known_names(layouts[0].classes, rows, None)
    assert names_to_match(known, ClassChoice(classes.names, rule="refuse"), "published.pth") == classes.names
    with pytest.raises(ValueError, match=r"published.pth was trained on .*balloon"):
        names_to_match(known, ClassChoice(["balloon"], rule="refuse"), "published.pth")

"""Which row of a file becomes which class of the model."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from focalnet_d2.checkpoint.class_matching import match_rows
from focalnet_d2.checkpoint.classes import RowMap, fit_class_rows
from focalnet_d2.checkpoint.layout import ClassRows

UNKNOWN = ClassRows(("head.<weight|bias>",), selections={(4, 2): (1, 3)})


def match(rows, classes, file=None, model=None, new=False, table=UNKNOWN):
    found = match_rows(table, rows, classes, file_names=file, model_names=model, new_classes=new)
    return None if found is None else (found.file, found.model)


def test_equal_numbers_of_unknown_classes_are_taken_as_they_are():
    assert match(3, 3) == ([0, 1, 2], [0, 1, 2])


def test_other_numbers_need_a_known_selection_or_a_new_list():
    assert match(3, 2) is None
    assert match(4, 2) == ([1, 3], [0, 1])
    assert match(3, 2, new=True) == ([], [])


def test_the_same_names_in_another_order_are_sorted():
    assert match(2, 2, ["cat", "dog"], ["dog", "cat"]) == ([1, 0], [0, 1])


def test_rows_without_a_class_are_left_out():
    assert match(3, 2, [None, "cat", "dog"], ["cat", "dog"]) == ([1, 2], [0, 1])


def test_another_list_is_taken_only_when_asked_for():
    lists = dict(file=["cat", "dog"], model=["bird", "dog"])
    assert match(2, 2, **lists) is None
    assert match(2, 2, **lists, new=True) == ([1], [1])


def test_a_model_may_have_some_of_the_classes_of_the_file():
    assert match(3, 2, ["a", "b", "c"], ["c", "a"]) == ([2, 0], [0, 1])
    assert match(2, 3, ["c", "a"], ["a", "b", "c"]) is None


def test_the_layout_knows_names_that_the_file_does_not_note():
    table = ClassRows(("head.*",), names=lambda rows: ["a", "b"] if rows == 2 else None)
    assert match(2, 2, model=["b", "a"], table=table) == ([1, 0], [0, 1])
    assert match(2, 2, ["b", "a"], ["b", "a"], table=table) == ([0, 1], [0, 1])


def test_lists_of_another_length_than_the_rows_say_nothing():
    assert match(3, 3, ["a", "b"], ["a", "b", "c"]) == ([0, 1, 2], [0, 1, 2])
    assert match(3, 3, ["a", "b", "c"], ["x"]) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (dict(rows=2, classes=2), ([0, 1, 2], [0, 1, 2])),
        (dict(rows=4, classes=2), ([1, 3, 4], [0, 1, 2])),
        (dict(rows=3, classes=2), None),
        (dict(rows=3, classes=1, new=True), ([3], [1])),
        (dict(rows=2, classes=2, file=["cat", "dog"], model=["dog", "cat"]), ([1, 0, 2], [0, 1, 2])),
        (dict(rows=2, classes=1, file=["cat", "dog"], model=["dog"], new=True), ([1, 2], [0, 1])),
    ],
)
def test_extra_rows_come_along_whatever_becomes_of_the_classes(arguments, expected):
    assert match(**arguments, table=replace(UNKNOWN, extra_rows=1)) == expected


def test_classes_are_counted_without_extra_rows():
    state = {"head.weight": torch.zeros(5, 2), "head.bias": torch.zeros(5)}
    assert UNKNOWN.count(state) == 5
    assert replace(UNKNOWN, extra_rows=1).count(state) == 4
    assert UNKNOWN.count({}) == replace(UNKNOWN, extra_rows=1).count({}) == 0


@given(
    file=st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1),
    model=st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1),
)
def test_every_row_goes_where_its_name_is(file, model):
    row_map = match_rows(UNKNOWN, len(file), len(model), file_names=file, model_names=model, new_classes=True)
    old = {"head.weight": torch.arange(1.0, len(file) + 1)[:, None], "other": torch.ones(1)}
    fresh = {"head.weight": -torch.arange(1.0, len(model) + 1)[:, None], "other": torch.zeros(1)}
    fit_class_rows(old, fresh, UNKNOWN, row_map)
    expected = [file.index(name) + 1.0 if name in file else -1.0 - row for row, name in enumerate(model)]
    assert old["head.weight"].flatten().tolist() == expected
    assert old["other"].tolist() == [1.0]


def test_nothing_is_reported_where_nothing_moves():
    tensors = {"head.weight": torch.randn(2, 3)}
    before = tensors["head.weight"]
    row_map = RowMap([0, 1], [0, 1])
    assert fit_class_rows(tensors, {"head.weight": torch.zeros(2, 3)}, UNKNOWN, row_map) == {}
    assert tensors["head.weight"] is before


# Several rows for each class

HEADS = ClassRows(("score.*",), extra_rows=1, blocks={"box.<weight|bias>": 4, "mask.*": 1})


def heads(classes: int, sign: int = 1) -> dict[str, torch.Tensor]:
    """Rows that say their class, background 9: 10 times the class and the place in the block."""
    box = torch.tensor([[sign * (10.0 * label + place)] for label in range(1, classes + 1) for place in range(4)])
    mask = torch.tensor([[sign * 10.0 * label] for label in range(1, classes + 1)])
    return {"score.weight": torch.cat([mask, torch.tensor([[sign * 9.0]])]), "box.weight": box, "mask.weight": mask}


def fitted(file_names: list[str], model_names: list[str], **choices) -> dict[str, list[float]]:
    tensors = heads(len(file_names))
    row_map = match_rows(
        HEADS, len(file_names), len(model_names), file_names=file_names, model_names=model_names,
        **{"new_classes": False, **choices},
    )  # fmt: skip
    fit_class_rows(tensors, heads(len(model_names), sign=-1), HEADS, row_map)
    return {name: value.flatten().tolist() for name, value in tensors.items()}


def test_the_rows_of_a_class_move_together():
    found = fitted(["a", "b", "c"], ["c", "a"])
    assert found["score.weight"] == [30, 10, 9]
    assert found["box.weight"] == [30, 31, 32, 33, 10, 11, 12, 13]
    assert found["mask.weight"] == [30, 10]


def test_blocks_of_new_classes_stay_fresh_and_have_no_extra_rows():
    found = fitted(["a", "b"], ["x", "b", "y"], new_classes=True)
    assert found["score.weight"] == [-10, 20, -30, 9]
    assert found["box.weight"] == [-10, -11, -12, -13, 20, 21, 22, 23, -30, -31, -32, -33]
    assert found["mask.weight"] == [-10, 20, -30]


def test_blocks_that_stay_are_not_touched():
    tensors = heads(2)
    before = dict(tensors)
    row_map = match_rows(HEADS, 2, 2, file_names=None, model_names=None, new_classes=False)
    assert fit_class_rows(tensors, heads(2, sign=-1), HEADS, row_map) == {}
    assert all(tensors[name] is before[name] for name in tensors)


def test_classes_are_counted_by_the_rows_with_extra_rows():
    assert HEADS.count(dict(reversed(heads(3).items()))) == 3
    assert HEADS.block_sizes(heads(3)) == {"box.weight": 4, "mask.weight": 1}

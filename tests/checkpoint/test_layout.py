"""The little language of key tables."""

import pytest
import torch

from focalnet_d2.checkpoint.layout import apply_table, count_of, drop, length_of, merge, rename


@pytest.mark.parametrize(
    ("pattern", "target", "name", "expected"),
    [
        ("a.#.b", "x.#", "a.12.b", "x.12"),
        ("a.#.<w|b>.*", "<>.#.*", "a.3.w.rest.of.it", "w.3.rest.of.it"),
        ("a.#.#", "#.a.#", "a.1.2", "1.a.2"),
        ("a.b", "a.c", "a.b", "a.c"),
    ],
)
def test_what_a_pattern_finds_goes_into_the_target(pattern, target, name, expected):
    rule = rename(pattern, target)
    assert rule.matches(name)
    assert rule.apply(name) == expected


@pytest.mark.parametrize(
    "name", ["a.1.weights", "xa.1.weight", "a.one.weight", "a.1.gamma", "aX1.weight", "a.1.weight."]
)
def test_only_whole_names_match(name):
    assert not rename("a.#.<weight|bias>").matches(name)


def test_every_name_of_the_file_is_accounted_for():
    one, two = torch.ones(2), torch.zeros(2)
    rules = [rename("keep.#"), drop("head.*", "not ours"), merge("copy.#", "only", "advice")]
    result = apply_table(rules, {"keep.1": two, "head.w": two, "copy.0": one, "copy.1": one.clone(), "odd": two})
    assert set(result.tensors) == {"keep.1", "only"}
    assert result.skipped == {"head.w": "not ours", "copy.1": "the same tensor as copy.0"}
    assert result.unexpected == ["odd"]
    assert result.origin["only"] == "copy.0"
    assert not result.conflicts


def test_copies_that_differ_are_a_conflict():
    result = apply_table([merge("copy.#", "only", "advice")], {"copy.0": torch.ones(2), "copy.1": torch.zeros(2)})
    assert result.conflicts == [("copy.0", "copy.1", "advice")]


def test_two_names_of_one_tensor_are_a_conflict_where_they_differ():
    rules = [rename("old", "new"), rename("new")]
    same = apply_table(rules, {"old": torch.ones(1), "new": torch.ones(1)})
    assert (same.skipped, same.conflicts) == ({"new": "the same tensor as old"}, [])
    other = apply_table(rules, {"old": torch.ones(1), "new": torch.zeros(1)})
    assert other.conflicts == [("old", "new", "keep one of them")]


def test_the_first_rule_that_matches_decides():
    result = apply_table([drop("a.#", "numbered"), rename("*")], {"a.1": torch.ones(1), "a.b": torch.ones(1)})
    assert set(result.tensors) == {"a.b"}


def test_rules_move_below_prefixes():
    rule = rename("layers.#.w").within("backbone.0.", "backbone.bottom_up.")
    assert rule.apply("backbone.0.layers.7.w") == "backbone.bottom_up.layers.7.w"
    assert not rule.matches("layers.7.w")


def test_facts_of_a_state_dict():
    state = {"layers.0.w": torch.ones(3, 5), "layers.7.w": torch.ones(3, 5), "layers_of_another.1.w": torch.ones(1)}
    assert count_of("layers")(state) == 2
    assert count_of("blocks")(state) is None
    assert length_of("layers.0.w", 1)(state) == 5
    assert length_of("layers.0.w", 2)(state) is None
    assert length_of("layers.1.w")(state) is None

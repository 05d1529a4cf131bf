"""The pieces that every reading of annotations is made of: JSON, ids, and the line about what is odd."""

import json
import logging
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from focalnet_d2.data.annotations.ids import check_unique, kind_of_ids, repeated, unlisted
from focalnet_d2.data.annotations.json_file import column, entries_of, read_json
from focalnet_d2.data.annotations.oddities import Oddities


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}}', b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_names_the_file(tmp_path, content):
    (tmp_path / "truth.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"truth\.json is not valid JSON"):
        read_json(tmp_path / "truth.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.json does not exist"):
        read_json(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"t\.json has no images and no categories, so it is not in the zoo's format"),
        ({"images": []}, r"t\.json has no categories, so"),
        ({"images": {}, "categories": []}, "its images are not a list of objects"),
        ({"images": [], "categories": [1]}, "its categories are not a list of objects"),
    ],
)
def test_lists_of_objects(content, message):
    assert entries_of({"images": [{"id": 1}]}, ["images"], "t.json", "the zoo's format") == [[{"id": 1}]]
    with pytest.raises(ValueError, match=message):
        entries_of(content, ["images", "categories"], "t.json", "the zoo's format")


def test_a_column_names_the_entries_that_lack_it():
    assert column([{"id": 3}, {"id": 4}], "id", "t.json: images") == [3, 4]
    with pytest.raises(ValueError, match=r"t\.json: images without id: 2 of 3, entries 0, 2 of their list"):
        column([{}, {"id": 4}, {"name": 1}], "id", "t.json: images")


def test_ids_are_whole_numbers_or_text():
    assert (kind_of_ids([1, 0, -2], "t"), kind_of_ids(["1", "b"], "t"), kind_of_ids([], "t")) == (int, str, None)


@pytest.mark.parametrize("strange", [None, 1.0, True, [1], {}])
def test_other_ids_are_named(strange):
    with pytest.raises(ValueError, match="images have an id that is neither a whole number nor text: "):
        kind_of_ids([1, strange], "t.json: images")


def test_numbers_and_text_in_one_list():
    with pytest.raises(ValueError, match=r"whole numbers and text for ids \(1, 'a'\): write all alike"):
        kind_of_ids([1, "a"], "t.json: images")


def test_repeated_ids_are_named_once():
    assert repeated([3, 1, 3, 3, 2, 1]) == [3, 1]
    check_unique([1, 2], "t.json: images")
    with pytest.raises(ValueError, match="t.json: images with the same id: 3, 1; each needs its own"):
        check_unique([3, 1, 3, 3, 1], "t.json: images")


def test_ids_that_are_not_listed():
    assert unlisted([1, 5, 5], [1, 2], "t: annotations", "t: images") == {5}
    assert unlisted([], ["a"], "t: annotations", "t: images") == set()
    with pytest.raises(
        ValueError, match=r"annotations have text for ids \('1'\), but t: images have whole numbers \(1\)"
    ):
        unlisted(["1"], [1, 2], "t: annotations", "t: images")


def test_oddities_are_one_line(caplog):
    oddities = Oddities("t.json")
    oddities.log(logging.getLogger("annotations"))
    oddities.add("without anything", 0)
    assert caplog.text == ""
    oddities.add("crowds, left out", 2)
    oddities.add("with iscrowd null, read as 0")
    oddities.add("crowds, left out", 3)
    oddities.log(logging.getLogger("annotations"))
    assert caplog.messages == ["t.json: 5 crowds, left out; 1 with iscrowd null, read as 0."]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=json_values)
def test_a_file_is_read_alike_with_orjson_and_without(tmp_path, monkeypatch, content):
    path = tmp_path / "values.json"
    path.write_text(json.dumps(content))
    fast = read_json(path)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "orjson", None)
        assert repr(read_json(path)) == repr(fast) == repr(json.loads(path.read_text()))

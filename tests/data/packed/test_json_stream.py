"""The lists of a file are those of the standard reader, wherever the chunks end; whatever is unusual is refused."""

import io
import json
import random
import sys

import pytest

from focalnet_d2.data.annotations.json_stream import JsonStream, UnusualJsonError
from tests.data.packed.coco_content import content
from tests.fuzzing import fuzz_count

KEYS = ("images", "categories", "annotations")


def read(text, chunk=1 << 22):
    lists = {key: [] for key in KEYS}
    found = JsonStream(io.BytesIO(text), chunk).take({key: part.extend for key, part in lists.items()}, "annotations")
    return {key: lists[key] for key in found}


def text_of(seed, **style):
    return json.dumps(content(random.Random(seed)), **style).encode()


@pytest.mark.parametrize("style", [{}, {"indent": 1}, {"separators": (",", ":")}])
def test_a_chunk_may_end_anywhere(style):
    whole = content(random.Random(3))
    text = json.dumps({**whole, "annotations": whole["annotations"][:4]}, **style).encode()
    expected = {key: json.loads(text)[key] for key in KEYS}
    assert all(read(text, chunk) == expected for chunk in range(1, len(text) + 2, 3))


@pytest.mark.parametrize("seed", range(fuzz_count(40)))
def test_lists_of_any_order(seed):
    text = text_of(seed, ensure_ascii=seed % 2 == 0)
    assert read(text, 50 + seed) == {key: json.loads(text)[key] for key in KEYS}


def test_the_lists_that_come_last_are_handed_over_before(monkeypatch):
    order = []
    text = b'{"annotations": [{"a": 1}, {"b": 2}], "x": {"y": [1]}, "images": [{"c": 3}], "categories": []}'
    lists = {key: lambda part, key=key: order.append((key, part)) for key in KEYS}
    assert JsonStream(io.BytesIO(text), 10).take(lists, last="annotations") == set(KEYS)
    assert order == [("images", [{"c": 3}]), ("annotations", [{"a": 1}]), ("annotations", [{"b": 2}])]


def test_every_beginning_of_a_file_is_refused():
    text = text_of(5)
    for end in [*range(0, len(text), 7), len(text) - 1]:
        with pytest.raises(UnusualJsonError):
            read(text[:end], 200)


@pytest.mark.parametrize("seed", range(fuzz_count(200)))
def test_a_damaged_file_is_refused_or_read_as_by_the_standard_reader(seed):
    draw = random.Random(seed)
    text = bytearray(text_of(seed % 7))
    for _ in range(draw.randint(1, 2)):
        place = draw.randrange(len(text))
        text[place : place + draw.randint(0, 2)] = draw.choice(
            [b"}", b"{", b"]", b"[", b'"', b",", b"\\", b"\xff", b"1"]
        )
    try:
        found = read(bytes(text), draw.choice([60, 300, 5000]))
    except UnusualJsonError:
        return
    expected = json.loads(text)
    assert found == {key: expected[key] for key in KEYS if key in expected}


UNUSUAL = {
    "empty": b"",
    "a list": b'[{"images": []}]',
    "a byte order mark": b'\xef\xbb\xbf{"images": []}',
    "no key": b"{}",
    "a key twice": b'{"images": [], "images": []}',
    "a key with an escape": b'{"im\\u0061ges": []}',
    "a list of numbers": b'{"images": [1, 2]}',
    "null for a list": b'{"images": null}',
    "NaN in a list": b'{"images": [{"a": NaN}]}',
    "NaN elsewhere": b'{"info": NaN, "images": []}',
    "a comma too many": b'{"images": [{"a": 1},]}',
    "no comma": b'{"images": [{"a": 1} {"b": 1}]}',
    "more after the end": b'{"images": []} 1',
    "no UTF-8": b'{"images": [{"a": "\xff"}]}',
    "UTF-16": '{"images": []}'.encode("utf-16-le"),
    "images only within another list": b'{"annotations": [{"a": 1}], "x": {"images": [{"b": 1}]}}',
    "images in two places": b'{"annotations": [{"a": 1}], "x": {"images": [{"b": 1}]}, "images": []}',
    "a hundred thousand brackets": b'{"x": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("without_orjson", [False, True])
@pytest.mark.parametrize("case", UNUSUAL)
def test_what_is_unusual_is_left_to_another_reader(monkeypatch, case, without_orjson):
    if without_orjson:
        monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(UnusualJsonError):
        read(UNUSUAL[case])

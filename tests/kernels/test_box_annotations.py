"""What the library reads of boxes is what a JSON reader reads, and what it does not know it leaves to that."""

import json
import random
import struct

import numpy as np
import pytest

from focalnet_d2.kernels.box_annotations import LIBRARY, read_boxes
from tests.fuzzing import fuzz_count

pytestmark = pytest.mark.skipif(bool(LIBRARY.unavailable_reason()), reason=LIBRARY.unavailable_reason())

BOX = {"id": 3, "image_id": 7, "category_id": 2, "iscrowd": 0, "area": 12.5, "bbox": [1, 2.0, 3.25, 4]}


def text_of(*annotations):
    return json.dumps(list(annotations)).encode()[1:-1]


def test_columns_are_what_is_written():
    text = text_of(BOX, {**BOX, "id": 4, "iscrowd": 1, "bbox": [-0.5, 1e2, 2**40, 0.1], "isfake": 0, "url": "a, b}"})
    columns = read_boxes(text)
    assert columns.ids.tolist() == [3, 4]
    assert columns.image_ids.tolist() == [7, 7]
    assert columns.category_ids.tolist() == [2, 2]
    assert columns.areas.tolist() == [12.5, 12.5]
    assert columns.boxes.tolist() == [[1, 2, 3.25, 4], [-0.5, 100, 2**40, 0.1]]
    assert columns.whole.tolist() == [[True, False, False, True], [False, False, True, False]]
    assert (columns.crowds.tolist(), columns.has_crowd.tolist()) == ([False, True], [True, True])
    assert not read_boxes(text_of({key: BOX[key] for key in BOX if key != "iscrowd"})).has_crowd.any()


@pytest.mark.parametrize("mask", ["[]", "[ ]", "null"])
def test_a_mask_that_is_none_is_no_mask(mask):
    assert read_boxes(text_of(BOX)[:-1] + b', "segmentation": %b}' % mask.encode()) is not None


def number(draw):
    """The text of a number of any length, as tools write them and as they do not."""
    kind = draw.randrange(6)
    if kind == 0:
        return str(draw.randrange(-(10**6), 10**6))
    if kind == 1:
        return repr(round(draw.uniform(-2000, 2000), draw.randrange(1, 7)))
    if kind == 2:
        return repr(draw.uniform(-2000, 2000))
    if kind == 3:
        return repr(struct.unpack("<d", struct.pack("<Q", draw.getrandbits(62)))[0])
    if kind == 4:
        return f"{draw.randrange(10)}.{draw.getrandbits(90):030d}"
    return f"{draw.randrange(1, 10**4)}{draw.choice('eE')}{draw.choice(['', '+', '-'])}{draw.randrange(30)}"


@pytest.mark.parametrize("seed", range(fuzz_count(20)))
def test_numbers_are_those_of_python_to_the_last_bit(seed):
    draw = random.Random(seed)
    written = [[number(draw) for _ in range(5)] for _ in range(40)]
    start = '{"id": 1, "image_id": 1, "category_id": 1, "area": '
    texts = [f'{start}{area}, "bbox": [{", ".join(box)}]}}'.encode() for area, *box in written]
    columns = read_boxes(b" , ".join(texts))
    assert columns is not None
    expected = np.array([[float(one) for one in row] for row in written])
    assert np.array_equal(np.column_stack([columns.areas, columns.boxes]).view(np.int64), expected.view(np.int64))
    kinds = [[isinstance(json.loads(one), int) for one in box] for _, *box in written]
    assert columns.whole.tolist() == kinds


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": [[1, 1, 5, 1, 5, 5]]}, {"segmentation": {"size": [4, 4], "counts": "1"}}, {"keypoints": []},
        {"ignore": 0}, {"iscrowd": True}, {"iscrowd": None}, {"iscrowd": 2}, {"iscrowd": 0.0}, {"area": None},
        {"area": "12"}, {"id": "3"}, {"id": 3.0}, {"image_id": True}, {"category_id": 2**53}, {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, 3, 4, 5]}, {"bbox": [1, 2, 3, None]}, {"bbox": [1, 2, 3, float("nan")]}, {"bbox": None},
        {"bbox": [1, 2, 3, True]}, {"note": "ü"}, {"note": 'a "word"'}, {"more": {"a": 1}}, {"more": [1]},
        {"box_has_no_area": False}, {"bbox": [1, 2, 3, 10**20]},
    ],
)  # fmt: skip
def test_what_needs_a_closer_look_is_left(change):
    assert read_boxes(text_of(BOX)) is not None
    assert read_boxes(text_of(BOX, {**BOX, **change}, BOX)) is None


@pytest.mark.parametrize("lacking", ["id", "image_id", "category_id", "area", "bbox"])
def test_what_lacks_something_is_left(lacking):
    assert read_boxes(text_of(BOX, {key: value for key, value in BOX.items() if key != lacking})) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1], lambda text: text + b",", lambda text: text + b"}", lambda text: b"", lambda text: b",",
        lambda text: text.replace(b'"id"', b'"id" 3'), lambda text: text.replace(b": 3", b": 03"),
        lambda text: text.replace(b": 3", b": -0"), lambda text: text.replace(b"12.5", b"12."),
        lambda text: text.replace(b"12.5", b".5"), lambda text: text.replace(b"12.5", b"+12.5"),
        lambda text: text.replace(b"12.5", b"1e"), lambda text: text.replace(b"12.5", b"0x1p3"),
        lambda text: text.replace(b"12.5", b"Infinity"), lambda text: text.replace(b'"area"', b'"id"'),
        lambda text: text.replace(b"3.25,", b"3.25"), lambda text: text.replace(b"{", b"{{"), lambda text: b"[" + text,
        lambda text: text.replace(b'"id"', b"'id'"), lambda text: text.replace(b"12.5", b"1" * 70 + b".5"),
    ],
)  # fmt: skip
def test_what_is_no_json_is_left(damage):
    text = text_of(BOX)
    assert damage(text) != text
    assert read_boxes(damage(text)) is None


@pytest.mark.parametrize("seed", range(fuzz_count(20)))
def test_text_that_was_cut_or_changed_is_read_as_json_or_left(seed):
    draw = random.Random(seed)
    for _ in range(200):
        text = bytearray(text_of(BOX, {**BOX, "id": 11}))
        place = draw.randrange(len(text))
        text[place : place + draw.randrange(3)] = bytes(
            draw.choices(b'0123456789.,:{}[]"-+eE \\nt', k=draw.randrange(3))
        )
        columns = read_boxes(bytes(text))
        if columns is not None:
            entries = json.loads(b"[%b]" % bytes(text))
            assert columns.boxes.tolist() == [entry["bbox"] for entry in entries]
            assert columns.ids.tolist() == [entry["id"] for entry in entries]

"""Polygons and run lengths: what is no mask is found before a decoder sees it, and all backends are told the same."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations import run_lengths
from focalnet_d2.data.annotations.masks import find_unusable_masks, usable_mask
from focalnet_d2.data.annotations.run_lengths import fill_exactly
from tests.data.annotations.coco_file import HEIGHT, WIDTH, compressed, content, train, truth, write

SIZE = [HEIGHT, WIDTH]
TRIANGLE = [1, 1, 5, 1, 5, 5]

sizes = st.tuples(st.integers(1, 12), st.integers(1, 40))


def decoded_runs(text, pixels):
    """Run lengths of a compressed text, number after number; None where the code is broken."""
    runs, value, shift = [], 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16 > 0) << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return runs if shift == 0 else None


@settings(max_examples=60)
@given(size=sizes, seed=st.integers(0, 2**20), density=st.floats(0, 1), extra=st.integers(-3, 3))
def test_what_pycocotools_writes_fills_its_image_and_no_other(size, seed, density, extra):
    masks = np.random.RandomState(seed).rand(3, *size) < density
    texts = [mask_codec.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"] for mask in masks]
    pixels = size[0] * size[1]
    assert fill_exactly([*texts, texts[0].decode()], [pixels] * 4).all()
    assert (fill_exactly(texts, [pixels + extra] * 3) == (extra == 0)).all()


@settings(max_examples=200)
@given(
    texts=st.lists(st.text(st.sampled_from("0123456789OPQRo^_`no /é€"), max_size=9), max_size=4),
    pixels=st.integers(0, 40),
)
def test_any_text_is_judged_as_number_after_number(texts, pixels):
    expected = []
    for text in texts:
        runs = decoded_runs(text, pixels)
        expected.append(runs is not None and min(runs, default=0) >= 0 and sum(runs) == pixels)
    assert fill_exactly(texts, [pixels] * len(texts)).tolist() == expected if texts else True


def test_many_masks_are_checked_in_pieces(monkeypatch):
    monkeypatch.setattr(run_lengths, "_CHUNK", 8)
    texts = [compressed(0, 0, width, 3)["counts"] for width in range(1, 12)]
    texts[5] += "1"
    assert np.flatnonzero(~fill_exactly(texts, [HEIGHT * WIDTH] * 11)).tolist() == [5]


UNUSABLE = {
    "nothing": (None, "has no segmentation"),
    "empty": ([], "has no segmentation"),
    "an empty polygon": ([[]], "no polygon of three or more corners"),
    "two corners": ([[1, 1, 5, 5]], "no polygon of three or more corners"),
    "an odd number": ([[1, 1, 5, 1, 5, 5, 3]], "a polygon of 7 numbers"),
    "flat": (TRIANGLE, "1 for a polygon"),
    "text": ("1,1,5,1,5,5", "neither polygons nor run lengths"),
    "text within": ([["1", "1", "5", "1", "5", "5"]], "something else than numbers"),
    "null within": ([[1, 1, 5, 1, 5, None]], "something else than numbers"),
    "nan": ([[1, 1, 5, 1, 5, float("nan")]], "number that is not finite"),
    "too large": ([[1, 1, 5, 1, 5, 10**400]], "something else than numbers"),
    "run lengths within a list": ([compressed(1, 1, 5, 5)], "run lengths within a list"),
    "a short total": ({"size": SIZE, "counts": [5, 6]}, "run lengths of 11 pixels, but the image has 192"),
    "a long total": ({"size": SIZE, "counts": [5, 6, 999]}, "run lengths of 1010 pixels"),
    "negative": ({"size": SIZE, "counts": [198, -6]}, "not whole numbers of 0 or more"),
    "broken numbers": ({"size": SIZE, "counts": [191.0, 1]}, "not whole numbers of 0 or more"),
    "another size": (
        {"size": [WIDTH, HEIGHT], "counts": [192]},
        r"height and width \[16, 12\], but the image has \[12,",
    ),
    "no size": ({"counts": [192]}, "height and width None"),
    "no counts": ({"size": SIZE}, "without counts"),
    "a compressed total": (
        {"size": SIZE, "counts": compressed(1, 1, 5, 5)["counts"] + "2"},
        "damaged or do not add up",
    ),
    "compressed and cut": ({"size": SIZE, "counts": compressed(1, 1, 5, 5)["counts"][:-1]}, "damaged or do not add up"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_an_object_without_a_usable_mask_is_good_for_boxes_only(tmp_path, case):
    segmentation, message = UNUSABLE[case]
    changed = content()
    changed["annotations"][0]["segmentation"] = segmentation
    path = write(tmp_path, changed)
    assert [len(record["annotations"]) for record in train(path)] == [2, 0, 2]
    assert "segmentation" not in train(path)[0]["annotations"][0]
    assert len(truth(path).as_coco("bbox")["annotations"]) == 4
    with pytest.raises(ValueError, match="has an annotation without a mask on image 5"):
        train(path, masks=True)
    with pytest.raises(ValueError, match=rf"truth\.json: 1 annotations have no mask .*image 5, .*{message}"):
        truth(path, masks=True)


def test_why_a_mask_is_left_out_is_said_once(tmp_path, caplog):
    changed = content()
    for annotation in changed["annotations"][:2]:
        annotation["segmentation"] = [[1, 1, 5, 5]]
    train(write(tmp_path, changed))
    folder = str(tmp_path)  # its name is the test's, which has the word
    (said,) = (message for message in caplog.messages if "mask" in message.replace(folder, ""))
    assert "truth.json: 2 of 4 annotations have a mask that cannot be used, the first one, on image 5, has no" in said


def test_parts_with_fewer_than_three_corners_are_left_out_beside_others():
    assert usable_mask([[1, 1, 5, 5], TRIANGLE, []], (HEIGHT, WIDTH)) == [TRIANGLE]
    whole = [TRIANGLE, TRIANGLE]
    assert usable_mask(whole, (HEIGHT, WIDTH)) is whole


def test_the_truth_is_not_changed_by_a_check():
    annotations = [{"image_id": 5, "segmentation": [TRIANGLE]}, {"image_id": 5, "segmentation": compressed(0, 0, 3, 3)}]
    before = copy.deepcopy(annotations)
    assert find_unusable_masks(annotations, {5: (HEIGHT, WIDTH)}) == {}
    assert annotations == before

"""CVAT for images 1.1: parts, shapes, groups, run lengths, and what is refused."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.folders import cvat
from focalnet_d2.data.folders.listing import Listing
from tests.data.folders.labelled_folders import HEIGHT, WIDTH, cvat_xml, faults, find, names_of, objects, read, write

BOX = '<box label="dog" xtl="10.00" ytl="5.00" xbr="20.50" ybr="15.00" occluded="0" z_order="0"/>'
TRIANGLE = '<polygon label="cat" points="1.00,1.00;5.00,1.00;5.00,9.00"/>'


def one_image(root, *shapes, **files):
    return write(root, {"annotations.xml": cvat_xml({"sub/a.png": "".join(shapes)}), "images/sub/a.png": None, **files})


def rle(mask):
    """Row by row, from the background on, as CVAT counts."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel(), [1 - mask.ravel()[-1]]])))
    return ", ".join(map(str, np.diff(np.concatenate([[0], changes]))))


def decoded(entry):
    masks = entry["segmentation"]
    return mask_codec.decode(
        mask_codec.merge(mask_codec.frPyObjects(masks, HEIGHT, WIDTH)) if isinstance(masks, list) else masks
    )


def test_boxes_polygons_and_images_of_nothing(tmp_path):
    root = write(
        tmp_path,
        {
            "annotations.xml": cvat_xml({"sub/a.png": BOX + TRIANGLE, "b.png": ""}),
            "images/sub/a.png": None,
            "images/b.png": None,
        },
    )
    found = find(cvat.LAYOUT, root)
    assert (list(found.parts), found.classes.names, found.has_masks) == (["train"], ["cat", "dog"], False)
    content = read(cvat.LAYOUT, root)
    assert names_of(content, root) == ["images/b.png", "images/sub/a.png"]
    assert objects(content, root) == [
        ("images/sub/a.png", "dog", [10.0, 5.0, 10.5, 10.0]),
        ("images/sub/a.png", "cat", [1.0, 1.0, 4.0, 8.0]),
    ]
    box, triangle = content.annotations
    assert "segmentation" not in box
    assert (triangle["segmentation"], triangle["area"]) == ([[1, 1, 5, 1, 5, 9]], 16)


def test_ids_follow_the_labels_of_the_task(tmp_path):
    root = write(tmp_path, {"a.xml": cvat_xml({"a.png": TRIANGLE}, labels=("dog", "cat")), "a.png": None})
    assert read(cvat.LAYOUT, root).class_names == {1: "dog", 2: "cat"}
    assert read(cvat.LAYOUT, root).annotations[0]["category_id"] == 2
    assert find(cvat.LAYOUT, root).has_masks


def test_labels_of_shapes_where_the_file_lists_none(tmp_path):
    root = write(tmp_path, {"a.xml": cvat_xml({"a.png": BOX + TRIANGLE}, labels=()), "a.png": None})
    assert find(cvat.LAYOUT, root).classes.names == ["dog", "cat"]


def test_a_part_for_each_file(tmp_path):
    files = {
        "train.xml": cvat_xml({"a.png": BOX}),
        "val/annotations.xml": cvat_xml({"b.png": BOX}, labels=("dog", "cow")),
    }
    root = write(tmp_path, {**files, "images/a.png": None, "images/b.png": None})
    found = find(cvat.LAYOUT, root)
    assert (list(found.parts), found.classes.names) == (["train", "val"], ["cat", "dog", "cow"])
    assert objects(read(cvat.LAYOUT, root, "val"), root) == [("images/b.png", "dog", [10.0, 5.0, 10.5, 10.0])]


def test_a_part_for_each_subset_of_a_project(tmp_path):
    text = cvat_xml({"a.png": BOX}, subset="Train").replace(
        "</annotations>", cvat_xml({"a.png": ""}, subset="Validation").partition("</meta>")[2]
    )
    root = write(tmp_path, {"annotations.xml": text, "images/Train/a.png": None, "images/Validation/a.png": None})
    assert list(find(cvat.LAYOUT, root).parts) == ["train", "val"]
    assert objects(read(cvat.LAYOUT, root), root) == [("images/Train/a.png", "dog", [10.0, 5.0, 10.5, 10.0])]
    part = find(cvat.LAYOUT, root).parts["val"]
    heard = []
    assert names_of(cvat.LAYOUT.read(part, heard.append), root) == ["images/Validation/a.png"]


def test_parts_that_the_user_names(tmp_path):
    files = {"x.xml": cvat_xml({"a.png": BOX}), "y.xml": cvat_xml({"b.png": BOX})}
    root = write(tmp_path, {**files, "a.png": None, "b.png": None})
    assert names_of(read(cvat.LAYOUT, root), root) == ["a.png", "b.png"]
    found = find(cvat.LAYOUT, root, val="y.xml")
    assert names_of(cvat.LAYOUT.read(found.parts["val"], strict), root) == ["b.png"]
    assert names_of(cvat.LAYOUT.read(found.parts["train"], strict), root) == ["a.png"]
    with pytest.raises(ValueError, match=r"data\.val=a\.png has no XML file of CVAT"):
        find(cvat.LAYOUT, root, val="a.png")


def test_a_rotated_box_is_the_upright_one_around_it(tmp_path):
    square = '<box label="dog" xtl="10" ytl="5" xbr="20" ybr="9" rotation="90.00"/>'
    content = read(cvat.LAYOUT, one_image(tmp_path, square))
    assert content.annotations[0]["bbox"] == pytest.approx([13, 2, 4, 10])
    tilted = read(cvat.LAYOUT, one_image(tmp_path, square.replace("90.00", "30.00")))
    sine, cosine = 0.5, 3**0.5 / 2
    width, height = 10 * cosine + 4 * sine, 10 * sine + 4 * cosine
    assert tilted.annotations[0]["bbox"] == pytest.approx([15 - width / 2, 7 - height / 2, width, height])


def test_an_ellipse_is_a_polygon_along_it(tmp_path):
    shape = '<ellipse label="cat" cx="20" cy="10" rx="15" ry="6" rotation="0"/>'
    (entry,) = read(cvat.LAYOUT, one_image(tmp_path, shape)).annotations
    assert entry["bbox"] == pytest.approx([5, 4, 30, 12])
    assert entry["area"] == pytest.approx(np.pi * 15 * 6, rel=2e-3)
    (turned,) = read(cvat.LAYOUT, one_image(tmp_path, shape.replace('rotation="0"', 'rotation="90"'))).annotations
    assert turned["bbox"] == pytest.approx([14, -5, 12, 30])


def test_an_ellipse_is_turned_clockwise(tmp_path):
    shape = '<ellipse label="cat" cx="20" cy="10" rx="8" ry="1" rotation="45"/>'
    (entry,) = read(cvat.LAYOUT, one_image(tmp_path, shape)).annotations
    points = np.reshape(entry["segmentation"], (-1, 2))
    end = points[np.argmax(points[:, 0])]  # the right end has gone down
    assert end == pytest.approx([20 + 8 / 2**0.5, 10 + 8 / 2**0.5], abs=0.5)


def test_shapes_of_one_label_and_group_are_one_object(tmp_path):
    grouped = [
        '<polygon label="cat" points="1,1;5,1;5,9" group_id="1"/>',
        '<polygon label="cat" points="11,1;15,1;15,9" group_id="1"/>',
        '<box label="cat" xtl="0" ytl="0" xbr="39" ybr="19" group_id="1"/>',
        '<polygon label="dog" points="21,1;25,1;25,9" group_id="1"/>',
        '<polygon label="dog" points="31,1;35,1;35,9" group_id="0"/>',
        '<polygon label="dog" points="31,1;35,1;35,5" group_id="0"/>',
    ]
    root = one_image(tmp_path, *grouped)
    first, *others = read(cvat.LAYOUT, root).annotations
    assert first["segmentation"] == [[1, 1, 5, 1, 5, 9], [11, 1, 15, 1, 15, 9]]
    assert (first["bbox"], first["area"]) == ([1, 1, 14, 8], 32)
    assert len(others) == 3
    assert find(cvat.LAYOUT, root).has_masks


def test_a_mask_and_a_polygon_of_a_group_are_united(tmp_path):
    mask = np.zeros((4, 5), dtype=np.uint8)
    mask[1:3, 1:4] = 1
    shapes = [
        f'<mask label="cat" rle="{rle(mask)}" left="30" top="10" width="5" height="4" group_id="3"/>',
        '<polygon label="cat" points="2,2;10,2;10,8;2,8" group_id="3"/>',
    ]
    (entry,) = read(cvat.LAYOUT, one_image(tmp_path, *shapes)).annotations
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[11:13, 31:34] = 1
    expected[2:8, 2:10] = 1
    np.testing.assert_array_equal(decoded(entry), expected)
    assert (entry["bbox"], entry["area"]) == ([2, 2, 32, 11], 54)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_masks_come_back_pixel_by_pixel(tmp_path_factory, data):
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    left, top = data.draw(st.integers(0, WIDTH - width)), data.draw(st.integers(0, HEIGHT - height))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width).filter(any))
    mask = np.array(bits, dtype=np.uint8).reshape(height, width)
    shape = f'<mask label="cat" rle="{rle(mask)}" left="{left}" top="{top}" width="{width}" height="{height}"/>'
    (entry,) = read(cvat.LAYOUT, one_image(tmp_path_factory.mktemp("mask"), shape)).annotations
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    expected[top : top + height, left : left + width] = mask
    np.testing.assert_array_equal(decoded(entry), expected)
    assert entry["area"] == mask.sum()


def test_a_mask_beyond_the_image_is_cut(tmp_path):
    shape = '<mask label="cat" rle="0,16" left="-2" top="18" width="4" height="4"/>'
    (entry,) = read(cvat.LAYOUT, one_image(tmp_path, shape)).annotations
    assert (entry["bbox"], entry["area"]) == ([0, 18, 2, 2], 4)


def test_shapes_without_a_box_are_left_out_and_said(tmp_path):
    others = '<polyline label="cat" points="1,1;5,5"/><points label="cat" points="1,1"/><tag label="cat"/>'
    content, heard = faults(cvat.LAYOUT, one_image(tmp_path, BOX, others, '<points label="cat" points="2,2"/>'))
    assert len(content.annotations) == 1
    assert [(fault.kind, fault.severity, fault.count) for fault in heard] == [("skipped-shape", "warning", 1)]
    assert "are left out: 2 points, 1 polyline, 1 tag." in heard[0].message


def test_tracks_are_refused(tmp_path):
    root = write(tmp_path, {"a.xml": "<annotations><version>1.1</version><track id='0' label='cat'/></annotations>"})
    with pytest.raises(
        ValueError, match=r"a\.xml has tracks of a video, .*: export the task as 'CVAT for images 1.1'\."
    ):
        find(cvat.LAYOUT, root)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (TRIANGLE.replace("cat", "cow"), "has the label 'cow', which is none of cat, dog."),
        (TRIANGLE.replace(' label="cat"', ""), "has no label."),
        (
            TRIANGLE.replace("5.00,1.00;", ""),
            "has the points '1.00,1.00;5.00,9.00': write three or more as x,y;x,y;x,y.",
        ),
        (TRIANGLE.replace("5.00,1.00;", "5.00;"), "has the points '1.00,1.00;5.00;5.00,9.00': write three or more"),
        (TRIANGLE.replace("9.00", "nan"), "has 'nan' for points, which is not finite."),
        (BOX.replace(' xtl="10.00"', ""), "has None for xtl, which is no number."),
        (BOX.replace("/>", ' rotation="x"/>'), "has 'x' for rotation, which is no number."),
        (
            f'<mask label="cat" rle="0,{10**14}" left="1" top="1" width="{10**7}" height="{10**7}"/>',
            "has an rle of 100000000000000 pixels in a rectangle of 10000000 x 10000000.",
        ),
        (
            '<mask label="cat" rle="0,3" left="1" top="1" width="2" height="2"/>',
            "has an rle of 3 pixels in a rectangle of 2 x 2.",
        ),
        (
            '<mask label="cat" rle="0,-4" left="1" top="1" width="2" height="2"/>',
            "has the rle '0,-4', which is no list of",
        ),
        (
            '<mask label="cat" rle="0,4" left="1" top="1" width="0" height="2"/>',
            "has the width '0', which is no whole number",
        ),
    ],
)
def test_shapes_that_are_none(tmp_path, shape, message):
    root = one_image(tmp_path, TRIANGLE, shape)
    where = f"{root / 'annotations.xml'}: image 'sub/a.png' shape 2 {message}"
    with pytest.raises(ValueError, match=re.escape(where)):
        read(cvat.LAYOUT, root)
    content, heard = faults(cvat.LAYOUT, root)
    assert [(fault.kind, fault.ids) for fault in heard] == [("unusable-shape", ("2",))]
    assert len(content.annotations) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (f'width="{WIDTH}"', "", "image 'b.png' has the width '', which is no whole number of pixels."),
        (f'height="{HEIGHT}"', 'height="0"', "image 'b.png' has the height '0', which is no whole number of pixels."),
    ],
)
def test_images_that_are_none(tmp_path, old, new, message):
    head, name, tail = cvat_xml({"a.png": BOX, "b.png": BOX}).partition('name="b.png"')
    root = write(tmp_path, {"a.xml": head + name + tail.replace(old, new), "a.png": None, "b.png": None})
    with pytest.raises(ValueError, match=re.escape(f"{root / 'a.xml'}: {message}")):
        read(cvat.LAYOUT, root)
    content, heard = faults(cvat.LAYOUT, root)
    assert [fault.kind for fault in heard] == ["unusable-image"]
    assert names_of(content, root) == ["a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (cvat_xml({}), "has no image"),
        (cvat_xml({"a.png": ""}, labels=()), "has no label"),
        (cvat_xml({"b.png": BOX}), "None of the 1 files that .* names is in"),
        (f'<!DOCTYPE annotations [<!ENTITY x "cat">]>{cvat_xml({"a.png": BOX})}', "declares a document type"),
        (cvat_xml({"a.png": BOX})[:-5], "is not valid XML"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        find(cvat.LAYOUT, write(tmp_path, {"a.xml": text, "a.png": None}))


def test_other_folders_are_none(tmp_path):
    assert cvat.LAYOUT.find(Listing(write(tmp_path, {"a.xml": "<annotation/>", "a.png": None})), {}) is None


def test_what_hotcoco_writes(tmp_path):
    hotcoco = pytest.importorskip("hotcoco")
    truth = {
        "images": [{"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3.25, 4], "area": 13, "iscrowd": 0},
        ],
    }
    root = write(tmp_path, {"truth.json": truth, "a.png": None})
    hotcoco.COCO(str(root / "truth.json")).to_cvat(str(root / "annotations.xml"))
    assert objects(read(cvat.LAYOUT, root), root) == [("a.png", "cat", [1.0, 2.0, 3.25, 4.0])]

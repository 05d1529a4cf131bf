"""labelme folders: shapes, groups, images, and what is refused."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.folders import labelme
from focalnet_d2.data.folders.listing import Listing
from focalnet_d2.utils.user_cache import user_cache
from tests.data.folders.labelled_folders import (
    HEIGHT,
    WIDTH,
    faults,
    find,
    labelme_json,
    names_of,
    objects,
    png,
    read,
    write,
)

TRIANGLE = ("cat", "polygon", [[1, 1], [5, 1], [5, 9]])
RECTANGLE = ("dog", "rectangle", [[20.5, 15], [10, 5]])


def one_image(root, *shapes, **others):
    return write(root, {"a.json": labelme_json(*shapes, **others), "a.png": None})


def test_polygons_and_rectangles(tmp_path):
    root = one_image(tmp_path, TRIANGLE, RECTANGLE)
    found = find(labelme.LAYOUT, root)
    assert (list(found.parts), found.has_masks) == (["train"], False)
    content = read(labelme.LAYOUT, root)
    assert content.class_names == {1: "cat", 2: "dog"}
    assert objects(content, root) == [("a.png", "cat", [1, 1, 4, 8]), ("a.png", "dog", [10, 5, 10.5, 10])]
    triangle, rectangle = content.annotations
    assert (triangle["segmentation"], triangle["area"]) == ([[1, 1, 5, 1, 5, 9]], 16)
    assert "segmentation" not in rectangle


def test_masks_are_there_if_every_object_has_one(tmp_path):
    grouped = ("cat", "rectangle", [[0, 0], [9, 9]], {"group_id": 1})
    assert find(labelme.LAYOUT, one_image(tmp_path, (*TRIANGLE, {"group_id": 1}), grouped)).has_masks


def test_circles_and_oriented_rectangles(tmp_path):
    circle = ("cat", "circle", [[20, 10], [26, 10]])
    tilted = ("cat", "oriented_rectangle", [[5, 2], [8, 5], [5, 8], [2, 5]])
    first, second = read(labelme.LAYOUT, one_image(tmp_path, circle, tilted)).annotations
    assert first["bbox"] == pytest.approx([14, 4, 12, 12])
    assert first["area"] == pytest.approx(np.pi * 36, rel=2e-3)
    assert second["bbox"] == [2, 2, 6, 6]
    assert "segmentation" not in second


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([[3, 2], [6, 4]], (slice(2, 5), slice(3, 7), slice(0, 3), slice(0, 4))),  # both corners belong to it
        ([[3, 2], [5, 3]], (slice(2, 4), slice(3, 6), slice(0, 2), slice(0, 3))),  # whole corners cut it
        ([[3.4, 1.6], [9.9, 9.9]], (slice(2, 5), slice(3, 7), slice(0, 3), slice(0, 4))),  # others are rounded
    ],
)
def test_a_mask_comes_back_pixel_by_pixel(tmp_path, points, expected):
    bitmap = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]])
    root = one_image(tmp_path, ("cat", "mask", points, {"mask": png(bitmap)}))
    (entry,) = read(labelme.LAYOUT, root).annotations
    rows, columns, own_rows, own_columns = expected
    full = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    full[rows, columns] = bitmap[own_rows, own_columns]
    np.testing.assert_array_equal(mask_codec.decode(entry["segmentation"]), full)
    assert entry["area"] == full.sum()


def test_shapes_of_one_label_and_group_are_one_object(tmp_path):
    def triangle(label, x, group):
        return (label, "polygon", [[x, 1], [x + 4, 1], [x + 4, 9]], {"group_id": group})

    shapes = [triangle("cat", 1, 0), triangle("cat", 11, 0), triangle("dog", 21, 0), triangle("cat", 31, None)]
    first, second, third = read(labelme.LAYOUT, one_image(tmp_path, *shapes)).annotations
    assert first["segmentation"] == [[1, 1, 5, 1, 5, 9], [11, 1, 15, 1, 15, 9]]
    assert (first["bbox"], first["area"]) == ([1, 1, 14, 8], 32)
    assert [second["category_id"], third["category_id"]] == [2, 1]


def test_an_image_without_shapes_holds_nothing_and_one_without_a_file_is_left_out(tmp_path):
    root = one_image(tmp_path, TRIANGLE)
    write(root, {"b.json": labelme_json(image="b.png"), "b.png": None, "c.png": None})
    content, heard = faults(labelme.LAYOUT, root)
    assert names_of(content, root) == ["a.png", "b.png"]
    assert [(fault.kind, fault.severity) for fault in heard] == [("unlabelled-image", "warning")]
    assert "1 images without a JSON file of labelme, which are left out (c.png)" in heard[0].message


@pytest.mark.parametrize("text", ["", "{", '{"shapes": 3}', "[]"])
def test_an_image_whose_file_is_none_of_labelme_is_said(tmp_path, text):
    root = one_image(tmp_path, TRIANGLE)
    write(root, {"b.json": text, "b.png": None})
    _, heard = faults(labelme.LAYOUT, root)
    assert [(fault.kind, fault.ids) for fault in heard] == [("unlabelled-image", (str(root / "b.png"),))]


def test_labels_that_are_no_classes_and_shapes_without_a_box(tmp_path):
    others = [
        ("__ignore__", "polygon", [[1, 1], [5, 1], [5, 9]]),
        ("_background_", "polygon", [[1, 1], [5, 1], [5, 9]]),
        ("cat", "point", [[1, 1]]),
        ("cat", "linestrip", [[1, 1], [2, 2]]),
    ]
    content, heard = faults(labelme.LAYOUT, one_image(tmp_path, TRIANGLE, *others))
    assert content.class_names == {1: "cat"}
    assert len(content.annotations) == 1
    assert [(fault.kind, fault.count) for fault in heard] == [("skipped-shape", 1)]


def test_labels_txt_says_the_order_of_the_classes(tmp_path):
    root = write(one_image(tmp_path, TRIANGLE), {"labels.txt": "__ignore__\n_background_\ndog\ncat\n"})
    assert read(labelme.LAYOUT, root).class_names == {1: "dog", 2: "cat"}
    write(root, {"labels.txt": "dog\n"})
    with pytest.raises(ValueError, match=r"labels\.txt lacks the labels cat of the JSON files"):
        find(labelme.LAYOUT, root)


def test_parts_and_images_elsewhere(tmp_path):
    root = write(
        tmp_path,
        {
            "train/json/a.json": labelme_json(TRIANGLE, image="..\\images\\a.png"),
            "train/images/a.png": None,
            "val/b.json": labelme_json(RECTANGLE, image="renamed.png"),
            "val/b.png": None,
        },
    )
    assert objects(read(labelme.LAYOUT, root), root) == [("train/images/a.png", "cat", [1, 1, 4, 8])]
    assert names_of(read(labelme.LAYOUT, root, "val"), root) == ["val/b.png"]
    with pytest.raises(ValueError, match=r"data\.train=train/images has no JSON file of labelme"):
        find(labelme.LAYOUT, root, train="train/images")


@pytest.mark.parametrize("size", [{}, {"imageHeight": None}, {"imageWidth": 0}])
def test_sizes_that_the_file_lacks_are_those_of_the_image(tmp_path, size):
    root = write(tmp_path, {"a.json": labelme_json(TRIANGLE, **size), "a.png": Image.new("RGB", (33, 17))})
    (image,) = read(labelme.LAYOUT, root).images
    assert (image["width"], image["height"]) == ((33, 17) if size else (WIDTH, HEIGHT))


def test_an_embedded_image_is_written_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(file, "JPEG")
    data = base64.b64encode(file.getvalue()).decode()
    root = write(tmp_path / "set", {"a.json": labelme_json(TRIANGLE, imageData=data)})
    (image,) = read(labelme.LAYOUT, root).images
    assert image["file_name"].startswith(str(user_cache() / "labelme_images"))
    with Image.open(image["file_name"]) as written:
        assert (written.size, written.format) == ((WIDTH, HEIGHT), "JPEG")
    assert read(labelme.LAYOUT, root).images == [image]
    write(root, {"a.json": labelme_json(TRIANGLE, imageData="no picture")})
    with pytest.raises(ValueError, match=r"a\.json has no image beside it, and its imageData is none"):
        read(labelme.LAYOUT, root)


def test_a_file_without_an_image(tmp_path):
    root = write(tmp_path, {"a.json": labelme_json(TRIANGLE, image="c.png"), "b.png": None})
    with pytest.raises(ValueError, match=r"a\.json has no image: none of its name or of its text 'c\.png' is below"):
        read(labelme.LAYOUT, root)


def test_files_of_old_versions_have_polygons_only(tmp_path):
    content = labelme_json(TRIANGLE)
    del content["shapes"][0]["shape_type"], content["shapes"][0]["group_id"]
    assert len(read(labelme.LAYOUT, write(tmp_path, {"a.json": content, "a.png": None})).annotations) == 1


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (("cat", "polygon", [[1, 1], [5, 1]]), "is a polygon of 2 points instead of 3."),
        (("cat", "rectangle", [[1, 1], [5, 1], [5, 5]]), "is a rectangle of 3 points instead of 2."),
        (
            ("cat", "polygon", [[1, 1], [5, None], [5, 9]]),
            "has the points [[1, 1], [5, None], [5, 9]], which are no list",
        ),
        (("cat", "polygon", 5), "has the points 5, which are no list of [x, y]."),
        (("cat", ["polygon"], [[1, 1]]), "has the shape_type ['polygon'], which is none of polygon, rectangle"),
        ((*TRIANGLE, {"group_id": [1]}), "has the group_id [1], which is no whole number."),
        (("cat", "polygon", []), "has the points [], which are no list of [x, y]."),
        (("cat", "star", [[1, 1]]), "has the shape_type 'star', which is none of polygon, rectangle"),
        (("cat", "mask", [[1, 1], [2, 2]]), "has a mask that is no picture in base64"),
        (("cat", "mask", [[1, 1], [2, 2]], {"mask": "x"}), "has a mask that is no picture in base64"),
        (("", "polygon", [[1, 1], [5, 1], [5, 9]]), "has no label."),
    ],
)
def test_shapes_that_are_none(tmp_path, shape, message):
    root = one_image(tmp_path, TRIANGLE, shape)
    with pytest.raises(ValueError, match=re.escape(f"{root / 'a.json'}: shape 2 {message}")):
        read(labelme.LAYOUT, root)
    content, heard = faults(labelme.LAYOUT, root)
    assert [(fault.kind, fault.ids) for fault in heard] == [("unusable-shape", ("2",))]
    assert len(content.annotations) == 1


def test_a_label_that_came_later(tmp_path):
    part = find(labelme.LAYOUT, one_image(tmp_path, TRIANGLE)).parts["train"]
    one_image(tmp_path, TRIANGLE, RECTANGLE)
    with pytest.raises(ValueError, match=r"shape 2 has the label 'dog', which is none of cat\."):
        labelme.LAYOUT.read(part, strict)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (labelme_json(), "have no shape with a label"),
        ('{"shapes": [', "is not valid JSON"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        find(labelme.LAYOUT, write(tmp_path, {"a.json": content, "a.png": None}))


def test_a_size_that_is_none(tmp_path):
    root = one_image(tmp_path, TRIANGLE, imageHeight="20")
    with pytest.raises(
        ValueError, match=r"a\.json has the height and width \['20', 40\]: write whole numbers of pixels"
    ):
        read(labelme.LAYOUT, root)


@pytest.mark.parametrize("content", [{"images": []}, {"shapes": [], "images": []}, {"shapes": 1, "imagePath": ""}])
def test_other_files_are_none(tmp_path, content):
    assert labelme.LAYOUT.find(Listing(write(tmp_path, {"a.json": content, "a.png": None})), {}) is None

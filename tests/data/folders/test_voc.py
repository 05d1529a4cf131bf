"""Pascal VOC folders: where the files are, where pixels are counted from, and what is refused."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.folders import voc
from focalnet_d2.data.folders.listing import Listing
from tests.data.folders.labelled_folders import HEIGHT, WIDTH, faults, find, names_of, objects, read, voc_xml, write

BOX = "cat 11 6 20 15"
CAT = ("cat", [10.0, 5.0, 10.0, 10.0])


def devkit(root, **files):
    return write(
        root,
        {
            "Annotations/a.xml": voc_xml(BOX),
            "Annotations/b.xml": voc_xml("dog 1 1 40 20"),
            "JPEGImages/a.png": None,
            "JPEGImages/b.png": None,
            "SegmentationClass/a.png": None,
            "ImageSets/Main/train.txt": "a\n",
            "ImageSets/Main/val.txt": "b\n",
            "ImageSets/Main/cat_train.txt": "a  1\n",
            **files,
        },
    )


def test_the_devkit(tmp_path):
    found = find(voc.LAYOUT, devkit(tmp_path))
    assert list(found.parts) == ["train", "val"]
    assert [(entry.dataset_id, entry.name) for entry in found.classes.classes] == [(1, "cat"), (2, "dog")]
    assert not found.has_masks
    assert objects(read(voc.LAYOUT, tmp_path), tmp_path) == [("JPEGImages/a.png", *CAT)]
    assert objects(read(voc.LAYOUT, tmp_path, "val"), tmp_path) == [("JPEGImages/b.png", "dog", [0.0, 0.0, 40.0, 20.0])]


def test_a_devkit_below_the_folder_and_its_trainval(tmp_path):
    root = devkit(tmp_path / "VOCdevkit" / "VOC2012")
    (root / "ImageSets/Main/train.txt").rename(root / "ImageSets/Main/trainval.txt")
    assert objects(read(voc.LAYOUT, tmp_path), root) == [("JPEGImages/a.png", *CAT)]


def test_trainval_is_learned_without_the_images_of_val(tmp_path):
    devkit(tmp_path, **{"ImageSets/Main/trainval.txt": "a\nb\n"})
    (tmp_path / "ImageSets/Main/train.txt").unlink()
    assert names_of(read(voc.LAYOUT, tmp_path), tmp_path) == ["JPEGImages/a.png"]
    assert names_of(read(voc.LAYOUT, tmp_path, "val"), tmp_path) == ["JPEGImages/b.png"]


def test_lists_of_test_images_without_files_are_no_part(tmp_path):
    root = devkit(tmp_path, **{"ImageSets/Main/test.txt": "c\n", "JPEGImages/c.png": None})
    assert list(find(voc.LAYOUT, root).parts) == ["train", "val"]


def test_a_listed_image_without_a_file_holds_nothing(tmp_path):
    root = devkit(tmp_path, **{"ImageSets/Main/train.txt": "a\nc\n", "JPEGImages/c.png": None})
    content = read(voc.LAYOUT, root)
    assert names_of(content, root) == ["JPEGImages/a.png", "JPEGImages/c.png"]
    assert len(content.annotations) == 1


def test_a_list_that_the_user_names(tmp_path):
    found = find(voc.LAYOUT, devkit(tmp_path), train="ImageSets/Main/val.txt")
    content = voc.LAYOUT.read(found.parts["train"], strict)
    assert names_of(content, tmp_path) == ["JPEGImages/b.png"]


def test_roboflow_and_label_img(tmp_path):
    files = {
        "train/a.png": None,
        "train/a.xml": voc_xml(BOX),
        "valid/a.png": None,
        "valid/a.xml": voc_xml("cat 1 1 2 2"),
    }
    roboflow, label_img = write(tmp_path / "1", files), tmp_path / "2"
    assert list(find(voc.LAYOUT, roboflow).parts) == ["train", "val"]
    assert objects(read(voc.LAYOUT, roboflow), roboflow) == [("train/a.png", *CAT)]
    write(label_img, {"images/train_1.png": None, "xml/train_1.xml": voc_xml(BOX), "images/test_1.png": None})
    write(label_img, {"xml/test_1.xml": voc_xml()})
    content = read(voc.LAYOUT, label_img)
    assert names_of(content, label_img) == ["images/test_1.png", "images/train_1.png"]
    assert objects(content, label_img) == [("images/train_1.png", *CAT)]


def test_images_without_a_file_are_left_out_and_said(tmp_path):
    root = write(tmp_path, {"a.png": None, "a.xml": voc_xml(BOX), "b.png": None})
    content, heard = faults(voc.LAYOUT, root)
    assert names_of(content, root) == ["a.png"]
    assert [(one.kind, one.severity, one.count) for one in heard] == [("unlabelled-image", "warning", 1)]
    assert "1 images without an XML file of Pascal VOC, which are left out (b.png)" in heard[0].message


def test_an_image_of_another_name_is_the_one_in_the_file(tmp_path):
    root = write(tmp_path, {"a.xml": voc_xml(BOX, filename="pictures\\b.png"), "pictures/b.png": None})
    assert names_of(read(voc.LAYOUT, root), root) == ["pictures/b.png"]


def test_of_two_images_with_the_name_the_file_chooses(tmp_path):
    root = write(tmp_path, {"a.png": None, "a.jpg": None, "a.xml": voc_xml(BOX, filename="a.jpg")})
    assert names_of(read(voc.LAYOUT, root), root) == ["a.jpg"]
    write(root, {"a.xml": voc_xml(BOX)})
    with pytest.raises(ValueError, match=r"a\.xml may belong to several images .*: keep one of them"):
        read(voc.LAYOUT, root)


def test_difficult_objects_are_ignored(tmp_path):
    root = write(tmp_path, {"a.png": None, "a.xml": voc_xml(BOX, "cat 1 1 5 5 1", "cat 1 1 9 9 0")})
    assert [entry["iscrowd"] for entry in read(voc.LAYOUT, root).annotations] == [0, 1, 0]


@pytest.mark.parametrize("size", [(0, 0), (WIDTH, 0)])
def test_sizes_that_the_file_lacks_are_those_of_the_image(tmp_path, size):
    root = write(tmp_path, {"a.xml": voc_xml(BOX, size=size), "a.png": Image.new("RGB", (33, 17))})
    (image,) = read(voc.LAYOUT, root).images
    assert (image["width"], image["height"]) == (33, 17)


def test_corners_from_0_as_cvat_and_datumaro_write_them(tmp_path):
    root = write(tmp_path, {"a.png": None, "a.xml": voc_xml("cat 0.0 5.0 10.0 15.0", "cat 10.25 5.5 20.5 15.25")})
    assert "corners from 0" in find(voc.LAYOUT, root).reason
    boxes = [box for _, _, box in objects(read(voc.LAYOUT, root), root)]
    assert boxes == [[0.0, 5.0, 10.0, 10.0], [10.25, 5.5, 10.25, 9.75]]


@pytest.mark.parametrize(
    "source", ["<owner><name>Label Studio</name></owner>", "<source><annotation>Unknown</annotation></source>"]
)
def test_tools_that_count_from_0_are_known_by_what_they_write(tmp_path, source):
    text = voc_xml("cat 10 5 20 15").replace("<size>", f"{source}<size>")
    root = write(tmp_path, {"a.png": None, "a.xml": text})
    assert objects(read(voc.LAYOUT, root), root) == [("a.png", *CAT)]


def test_corners_from_1_as_the_devkit_and_hotcoco_write_them(tmp_path):
    hotcoco = pytest.importorskip("hotcoco")
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 5, 10, 10], "area": 100, "iscrowd": 0}],
    }
    write(tmp_path, {"truth.json": truth, "JPEGImages/a.png": None})
    hotcoco.COCO(str(tmp_path / "truth.json")).to_voc(str(tmp_path))
    assert "corners from 1" in find(voc.LAYOUT, tmp_path).reason
    assert objects(read(voc.LAYOUT, tmp_path), tmp_path) == [("JPEGImages/a.png", *CAT)]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"labels.txt": "dog\ncat\n"}, {1: "dog", 2: "cat"}),
        (
            {"labelmap.txt": "# label:color_rgb:parts:actions\nbackground:::\ndog:0,0,1::\ncat:::\n"},
            {1: "dog", 2: "cat"},
        ),
    ],
)
def test_files_that_say_the_order_of_the_classes(tmp_path, labels, expected):
    root = write(tmp_path, {"a.png": None, "a.xml": voc_xml(BOX), **labels})
    assert read(voc.LAYOUT, root).class_names == expected


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("cow 1 1 5 5", "object 2 has the class 'cow', which is none of cat, dog."),
        ("cat 1 1 5 five", "object 2 has 'five' for ymax, which is no number."),
        ("cat 1 1 5 inf", "object 2 has 'inf' for ymax, which is not finite."),
        ("cat 5 1 1 5", "object 2 has its corners in the wrong order: 5, 1, 1, 5."),
        ("cat 1 1 5 5 yes", "object 2 has difficult 'yes', which must be 0 or 1."),
    ],
)
def test_objects_that_are_none(tmp_path, box, message):
    root = write(tmp_path, {"a.png": None, "a.xml": voc_xml(BOX, "dog 1 1 5 5")})
    part = find(voc.LAYOUT, root).parts["train"]
    write(root, {"a.xml": voc_xml(BOX, box)})  # the classes are those that were found
    with pytest.raises(ValueError, match=re.escape(f"{root / 'a.xml'}: {message}")):
        voc.LAYOUT.read(part, strict)
    heard = []
    content = voc.LAYOUT.read(part, heard.append)
    assert [(fault.kind, fault.ids) for fault in heard] == [
        ("unusable-object", ("2",)),
        ("image-lacks-object", ("a.png",)),
    ]
    assert objects(content, root) == [("a.png", *CAT)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (voc_xml(BOX)[:-9], "is not valid XML"),
        (f'<!DOCTYPE annotation [<!ENTITY x "cat">]>{voc_xml(BOX)}', "declares a document type (annotation)"),
        (f'<!DOCTYPE annotation SYSTEM "other.dtd">{voc_xml(BOX)}', "declares a document type (annotation)"),
        (voc_xml(BOX, size=("a", "b")), "has the height b and the width a: write whole numbers of pixels."),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, message):
    root = write(tmp_path, {"a.png": None, "a.xml": text, "b.png": None, "b.xml": voc_xml(BOX)})
    with pytest.raises(ValueError, match=f"{re.escape(str(root / 'a.xml'))}.*{re.escape(message)}"):
        read(voc.LAYOUT, root)
    content, heard = faults(voc.LAYOUT, root)
    kind = "unusable-file" if "whole numbers" in message else "xml-damaged"
    assert (kind, str(root / "a.xml")) in [(fault.kind, fault.file) for fault in heard]
    assert names_of(content, root) == ["b.png"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.xml": voc_xml(), "a.png": None}, "have no object with a name"),
        ({"a.xml": voc_xml(BOX), "a.png": None, "labelmap.txt": "cat\n:::\n"}, "Classes have no name"),
        ({"a.xml": voc_xml(BOX), "a.png": None, "labels.txt": "dog\n"}, "lacks the classes cat"),
        ({"a.xml": voc_xml(BOX).replace("<size>", "<imagesize/><size>")}, "is of the old LabelMe web tool"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, message):
    with pytest.raises(ValueError, match=message):
        find(voc.LAYOUT, write(tmp_path, files))


def test_a_file_without_an_image(tmp_path):
    root = write(tmp_path, {"a.xml": voc_xml(BOX, filename="c.png"), "b.png": None})
    with pytest.raises(ValueError, match=r"a\.xml has no image: none of its name or of its text 'c\.png' is below"):
        read(voc.LAYOUT, root)


def test_parts_that_the_user_names(tmp_path):
    root = write(tmp_path, {"x/a.png": None, "x/a.xml": voc_xml(BOX), "y/b.png": None, "y/b.xml": voc_xml(BOX)})
    assert len(read(voc.LAYOUT, root).images) == 2
    found = find(voc.LAYOUT, root, val="y")
    assert [names_of(voc.LAYOUT.read(found.parts[part], strict), root) for part in ("train", "val")] == [
        ["x/a.png"],
        ["y/b.png"],
    ]
    with pytest.raises(ValueError, match=r"data\.test=x/a\.png has no XML file of Pascal VOC"):
        find(voc.LAYOUT, root, test="x/a.png")


@pytest.mark.parametrize("text", ["<annotations/>", "no xml", "", '<?xml version="1.0"?><!-- a --><root/>'])
def test_other_files_are_none(tmp_path, text):
    assert voc.LAYOUT.find(Listing(write(tmp_path, {"a.png": None, "a.xml": text})), {}) is None


pixels = st.integers(1, HEIGHT)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(pixels, pixels, pixels, pixels), min_size=1, max_size=4))
def test_whole_boxes_come_back(tmp_path_factory, corners):
    root = tmp_path_factory.mktemp("boxes")
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners]
    write(root, {"a.png": None, "a.xml": voc_xml(*(f"cat {' '.join(map(str, box))}" for box in boxes))})
    expected = [[x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1] for x0, y0, x1, y1 in boxes]
    assert [box for _, _, box in objects(read(voc.LAYOUT, root), root)] == expected

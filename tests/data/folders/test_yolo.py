"""YOLO folders: where the files are, what the lines say, and what is refused."""

import logging
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.folders import yolo
from focalnet_d2.data.folders.listing import Listing
from tests.data.folders.labelled_folders import HEIGHT, WIDTH, faults, find, names_of, objects, read, write

BOX = "0 0.5 0.5 0.25 0.4"  # 15, 6, 10, 8 in pixels
CAT = ("cat", [15.0, 6.0, 10.0, 8.0])
NAMES = "names: [cat, dog]\n"


def ultralytics(root, yaml="train: images/train\nval: images/val\n" + NAMES, line=BOX):
    return write(
        root,
        {
            "data.yaml": yaml,
            "images/train/a.png": None,
            "images/train/negative.png": None,
            "labels/train/a.txt": line,
            "images/val/b.png": None,
            "labels/val/b.txt": BOX,
        },
    )


def test_boxes_and_polygons_of_one_file(tmp_path):
    root = ultralytics(tmp_path, line=f"{BOX}\n1 0.1 0.1 0.4 0.1 0.4 0.6\n\n")
    content = read(yolo.LAYOUT, root)
    assert objects(content, root) == [
        ("images/train/a.png", *CAT),
        ("images/train/a.png", "dog", [4.0, 2.0, 12.0, 10.0]),
    ]
    box, triangle = content.annotations
    assert "segmentation" not in box
    assert box["area"] == pytest.approx(80)
    assert triangle["segmentation"] == [pytest.approx([4, 2, 16, 2, 16, 12])]
    assert triangle["area"] == pytest.approx(60)


def test_an_image_without_a_label_file_holds_nothing(tmp_path):
    content = read(yolo.LAYOUT, ultralytics(tmp_path))
    assert names_of(content, tmp_path) == ["images/train/a.png", "images/train/negative.png"]
    assert [(image["height"], image["width"]) for image in content.images] == [(HEIGHT, WIDTH)] * 2


@pytest.mark.parametrize(("line", "has_masks"), [(BOX, False), ("0 0.1 0.1 0.4 0.1 0.4 0.6", True)])
def test_masks_are_there_if_every_object_has_one(tmp_path, line, has_masks):
    root = ultralytics(tmp_path, line=line)
    write(root, {"labels/val/b.txt": "0 0.1 0.1 0.4 0.1 0.4 0.6"})
    assert find(yolo.LAYOUT, root).has_masks is has_masks


@pytest.mark.parametrize(
    "yaml",
    [
        "path: ../DIR\ntrain: images/train\nval: images/val\n",
        "path: /elsewhere/DIR\ntrain: images/train\nval: images/val\n",
        "path: .\ntrain: [images/train]\nval:\n- images/val\n",
        "train: /another/machine/images/train\nval: ../images/val\ntest: # optional\n",
        "train: train.txt\nval: data/val.txt\n",
    ],
)
def test_paths_of_a_yaml(tmp_path, yaml):
    root = ultralytics(tmp_path / "DIR", yaml + NAMES)
    write(root, {"train.txt": "./images/train/a.png\n", "val.txt": "data/images/val/b.png\n"})
    found = find(yolo.LAYOUT, root)
    assert list(found.parts) == ["train", "val"]
    assert objects(read(yolo.LAYOUT, root), root) == [("images/train/a.png", *CAT)]
    assert objects(read(yolo.LAYOUT, root, "val"), root) == [("images/val/b.png", *CAT)]


def test_a_training_part_of_several_folders(tmp_path):
    root = ultralytics(tmp_path, f"train: [images/train, images/val]\n{NAMES}")
    assert "images/val/b.png" in names_of(read(yolo.LAYOUT, root), root)


def test_roboflow(tmp_path, caplog):
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['cat', 'dog']\n"
    files = {"data.yaml": yaml, "README.dataset.txt": "Exported"}
    for folder in ("train", "valid"):
        files |= {f"{folder}/images/a.png": None, f"{folder}/labels/a.txt": BOX}
    root = write(tmp_path, files)
    with caplog.at_level(logging.WARNING):
        assert list(find(yolo.LAYOUT, root).parts) == ["train", "val"]
    assert "the images of test, ../test/images, are not there" in caplog.text
    assert objects(read(yolo.LAYOUT, root, "val"), root) == [("valid/images/a.png", *CAT)]


def test_a_test_part_without_labels_is_left_out_and_said(tmp_path, caplog):
    root = ultralytics(tmp_path, f"train: images/train\ntest: images/test\n{NAMES}")
    write(root, {"images/test/c.png": None})
    with caplog.at_level(logging.WARNING):
        assert list(find(yolo.LAYOUT, root).parts) == ["train"]
    assert "the images of test have no label files" in caplog.text
    with pytest.raises(ValueError, match="None of the 1 images of test"):
        find(yolo.LAYOUT, root, test="images/test")


def test_labels_whose_image_was_renamed_are_said(tmp_path, caplog):
    root = ultralytics(tmp_path)
    write(root, {"labels/train/c.txt": BOX, "labels/train/notes.txt": "checked by two people in the autumn"})
    content, heard = faults(yolo.LAYOUT, root)
    assert [(fault.kind, fault.severity, fault.ids) for fault in heard] == [
        ("label-without-image", "warning", (str(root / "labels/train/c.txt"),))
    ]
    assert len(content.annotations) == 1
    with caplog.at_level(logging.WARNING):
        read(yolo.LAYOUT, root)
    assert caplog.text.count("have labels, but no image of their name") == 1


def test_images_of_a_missing_part_are_not_taken_from_elsewhere(tmp_path):
    root = write(tmp_path, {"data.yaml": f"train: a/images\n{NAMES}", "images/a.png": None, "labels/a.txt": BOX})
    with pytest.raises(ValueError, match=r"data\.yaml: the images of train, a/images, are not there"):
        find(yolo.LAYOUT, root)


def test_cvat_yolo_1_1_and_datumaro(tmp_path):
    root = write(
        tmp_path,
        {
            "obj.data": "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n",
            "obj.names": "cat\ndog\n",
            "train.txt": "data/obj_train_data/sub/a.png\ndata/obj_train_data/negative.png\n",
            "obj_train_data/sub/a.png": None,
            "obj_train_data/sub/a.txt": f"{BOX}\n",
            "obj_train_data/negative.png": None,
        },
    )
    content = read(yolo.LAYOUT, root)
    assert objects(content, root) == [("obj_train_data/sub/a.png", *CAT)]
    assert len(content.images) == 2


def test_label_studio_and_label_img(tmp_path):
    files = {"classes.txt": "cat\ndog\n", "notes.json": {"categories": []}}
    studio = write(tmp_path / "studio", {**files, "images/a.png": None, "labels/a.txt": BOX})
    label_img = write(tmp_path / "label_img", {**files, "a.png": None, "a.txt": BOX})
    assert objects(read(yolo.LAYOUT, studio), studio) == [("images/a.png", *CAT)]
    assert objects(read(yolo.LAYOUT, label_img), label_img) == [("a.png", *CAT)]


def test_a_yaml_without_parts_as_supervision_writes_it(tmp_path):
    root = write(
        tmp_path,
        {
            "data.yaml": f"nc: 2\n{NAMES}",
            "train/images/a.png": None,
            "train/labels/a.txt": BOX,
            "valid/images/b.png": None,
            "valid/labels/b.txt": "",
        },
    )
    assert list(find(yolo.LAYOUT, root).parts) == ["train", "val"]


def test_parts_that_the_user_names(tmp_path):
    root = ultralytics(tmp_path)
    found = find(yolo.LAYOUT, root, train="images/val", val="images/train")
    content = yolo.LAYOUT.read(found.parts["val"], strict)
    assert objects(content, root) == [("images/train/a.png", *CAT)]
    with pytest.raises(ValueError, match=r"data\.train=nowhere: .* does not exist"):
        find(yolo.LAYOUT, root, train="nowhere")


def test_the_last_folder_images_counts_and_none_above_the_root(tmp_path):
    root = write(
        tmp_path / "images" / "set",
        {"classes.txt": "cat\n", "images/images/a.png": None, "images/labels/a.txt": BOX, "b.png": None, "b.txt": BOX},
    )
    assert objects(read(yolo.LAYOUT, root), root) == [("b.png", *CAT), ("images/images/a.png", *CAT)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names:\n  0: cat\n  4: dog\n", {0: "cat", 4: "dog"}),
        ("names: {1: no, 0: 'off'}\n", {0: "off", 1: "no"}),
        ("names:\n- 1\n- on\n", {0: "1", 1: "on"}),
    ],
)
def test_names_are_text_under_the_numbers_of_the_label_files(tmp_path, names, expected):
    found = find(yolo.LAYOUT, ultralytics(tmp_path, f"train: images/train\n{names}"))
    assert {entry.dataset_id: entry.name for entry in found.classes.classes} == expected


def test_ids_with_gaps_reach_the_objects(tmp_path):
    root = ultralytics(tmp_path, "train: images/train\nnames: {0: cat, 4: dog}\n", line=BOX.replace("0 ", "4.0 ", 1))
    assert read(yolo.LAYOUT, root).annotations[0]["category_id"] == 4


def test_an_image_turned_by_exif(tmp_path):
    root = ultralytics(tmp_path, f"train: images/train\n{NAMES}")
    exif = Image.Exif()
    exif[0x0112] = 6
    (root / "images/train/a.png").unlink()
    Image.new("RGB", (WIDTH, HEIGHT)).save(root / "images/train/a.jpg", exif=exif)
    content = read(yolo.LAYOUT, root)
    assert (content.images[0]["height"], content.images[0]["width"]) == (WIDTH, HEIGHT)
    assert content.annotations[0]["bbox"] == pytest.approx([7.5, 12, 5, 16])


def test_poses_give_boxes(tmp_path):
    yaml = f"train: images/train\nkpt_shape: [1, 3]\n{NAMES}"
    root = ultralytics(tmp_path, yaml, line=f"{BOX} 0.5 0.5 2")
    assert not find(yolo.LAYOUT, root).has_masks
    assert objects(read(yolo.LAYOUT, root), root) == [("images/train/a.png", *CAT)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 2, has the class 2, but the names are of 0, 1."),
        ("0.5 0.5 0.5 0.1 0.1", "line 2, has the class 0.5, but"),
        ("-1 0.5 0.5 0.1 0.1", "line 2, has the class -1, but"),
        (
            "0 20 10 5 5",
            "line 2, has 20, 10, 5 and 1 more, which is not between 0 and 1: divide by the width and height.",
        ),
        ("0 0.5 0.5 1.02 0.1", "line 2, has 1.02, which is not between 0 and 1"),
        ("0 0.5 nan 0.1 0.1", "line 2, has nan, which is not between 0 and 1"),
        ("0 0.1 0.1 0.4 0.1 0.4 -0.2", "line 2, has -0.2, which is not between 0 and 1"),
        ("cat 0.5 0.5 0.1 0.1", "line 2, has something else than numbers: cat, 0.5, 0.5, 0.1, 0.1."),
        ("0 0.5 0.5 0.1 0.1 0.9", "line 2, has 6 numbers: write a class and 4 for a box, or pairs x, y for 3 corners"),
        ("0 0.5 0.5 0.1", "line 2, has 4 numbers: write a class and 4 for a box"),
    ],
)
def test_lines_that_are_no_objects(tmp_path, line, message):
    root = ultralytics(tmp_path, line=f"{BOX}\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(f"{root / 'labels/train/a.txt'}, {message}")):
        read(yolo.LAYOUT, root)
    content, heard = faults(yolo.LAYOUT, root)
    assert [(fault.kind, fault.severity, fault.ids) for fault in heard] == [("unusable-line", "error", ("2",))]
    assert objects(content, root) == [("images/train/a.png", *CAT)]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images/train\nnc: 3\n" + NAMES, "nc is 3, but there are 2 names"),
        ("train: images/train\nnames: cat\n", "names must be a list of names"),
        ("train: images/train\nnames: []\n", "names must be a list of names"),
        ("train: images/train\nnames: [[cat]]\n", "names must be a list of names"),
        ("train: images/train\nnames: {cat: 0}\n", "names has the key 'cat', which is no number of a class"),
        ("train: images/train\nnames: [cat\n", "is not valid YAML"),
        ("train: images/none\n" + NAMES, "the images of train, images/none, are not there"),
        ("train: nothing.txt\n" + NAMES, "the images of train, nothing.txt, are not there"),
    ],
)
def test_yamls_that_cannot_be_used(tmp_path, yaml, message):
    root = ultralytics(tmp_path, yaml)
    with pytest.raises(ValueError, match=f"{re.escape(str(root / 'data.yaml'))}.*{re.escape(message)}"):
        find(yolo.LAYOUT, root)


def test_a_part_without_any_label_file(tmp_path):
    root = write(tmp_path, {"data.yaml": f"train: pictures\n{NAMES}", "pictures/a.png": None})
    with pytest.raises(ValueError, match=r"None of the 1 images of train that .*data\.yaml names has a label file"):
        find(yolo.LAYOUT, root)


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    root = ultralytics(tmp_path)
    (root / "images/train/negative.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"negative\.png cannot be read"):
        read(yolo.LAYOUT, root)
    content, heard = faults(yolo.LAYOUT, root)
    assert [fault.kind for fault in heard] == ["unreadable-image"]
    assert names_of(content, root) == ["images/train/a.png"]


@pytest.mark.parametrize("name", ["labels/train/a.txt", "classes.txt"])
def test_files_that_are_no_text(tmp_path, name):
    root = ultralytics(tmp_path)
    if name == "classes.txt":
        (root / "data.yaml").unlink()
    (root / name).write_bytes("0 café".encode("latin-1"))
    with pytest.raises(ValueError, match=rf"{re.escape(str(root / name))} is no text in UTF-8"):
        read(yolo.LAYOUT, root)


def test_two_yamls(tmp_path):
    root = write(tmp_path, {"one.yaml": f"train: a\n{NAMES}", "two.yaml": f"train: a\n{NAMES}"})
    with pytest.raises(ValueError, match="several YOLO data sets"):
        find(yolo.LAYOUT, root)


@pytest.mark.parametrize("files", [{"a.png": None}, {"classes.txt": "cat\n", "a.png": None}, {"a.yaml": "names: [x]"}])
def test_other_folders_are_none(tmp_path, files):
    assert yolo.LAYOUT.find(Listing(write(tmp_path, files)), {}) is None


shares = st.floats(0, 1).map(lambda share: round(share, 6))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(shares, shares, shares, shares), min_size=1, max_size=4))
def test_boxes_come_back_in_pixels(tmp_path_factory, corners):
    root = tmp_path_factory.mktemp("boxes")
    boxes = [(min(a, c), min(b, d), abs(a - c), abs(b - d)) for a, b, c, d in corners]
    lines = [f"1 {x + w / 2!r} {y + h / 2!r} {w!r} {h!r}" for x, y, w, h in boxes]
    content = read(yolo.LAYOUT, ultralytics(root, line="\n".join(lines)))
    for (x, y, w, h), entry in zip(boxes, content.annotations, strict=True):
        assert entry["bbox"] == pytest.approx([x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT], abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2 * WIDTH), st.integers(0, 2 * HEIGHT)), min_size=3, max_size=6))
def test_corners_on_half_pixels_come_back_exactly(tmp_path_factory, points):
    corners = [value / 2 for point in points for value in point]
    shares_of = [value / (WIDTH, HEIGHT)[place % 2] for place, value in enumerate(corners)]
    root = ultralytics(tmp_path_factory.mktemp("mask"), line=f"0 {' '.join(map(repr, shares_of))}")
    (entry,) = read(yolo.LAYOUT, root).annotations
    assert entry["segmentation"] == [corners]


@pytest.mark.parametrize("place", ["images/val", "images/train"])
def test_what_the_user_names_is_no_other_part(tmp_path, place):
    root = ultralytics(tmp_path)
    found = find(yolo.LAYOUT, root, train=place)
    assert list(found.parts) == (["train"] if place == "images/val" else ["train", "val"])
    assert found.parts["train"].options["sources"] == [str(root / place)]


def test_folders_of_no_named_part_are_the_training_part(tmp_path):
    root = ultralytics(tmp_path, yaml=NAMES)
    write(root, {"images/more/c.png": None, "labels/more/c.txt": BOX, "images/val/deep/d.png": None})
    found = find(yolo.LAYOUT, root, val="images/val")
    assert found.parts["train"].options["sources"] == [str(root / "images/more"), str(root / "images/train")]

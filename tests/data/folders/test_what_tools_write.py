"""The files of a known set as each tool wrote them (tests/fixtures/labelling_tools), read back."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as mask_codec

from focalnet_d2.data.annotations.faults import strict
from focalnet_d2.data.folders import cvat, labelme, voc, yolo
from focalnet_d2.data.folders.dataset import Part
from tests.data.folders.labelled_folders import find, read

TOOLS = Path(__file__).parents[2] / "fixtures" / "labelling_tools"
WIDTH, HEIGHT = 100, 50
CAT, PAIR, SQUARE = ("cat", [0, 0, 10, 20]), ("dog", [10, 5, 40, 10]), ("dog", [50, 30, 10, 10])
TRIANGLES = [[10, 5, 30, 5, 30, 15], [40, 5, 50, 5, 50, 15]]
TRIANGLE = ("dog", [10, 5, 20, 10])


def one_pixel_smaller(label, box):
    x, y, width, height = box
    return label, [x, y, width - 1, height - 1]


# Layout, folder of the images, what is read of what the tool could write, and whether the image of nothing is known.
# docs/formats.md names the tools that write fewer digits or other masks.
EXPECTED = {
    "datumaro_cvat": (cvat, "images", [CAT, PAIR, SQUARE], True),
    "datumaro_voc_detection": (voc, "JPEGImages", [CAT], True),
    "datumaro_yolo": (yolo, "obj_train_data", [CAT], True),
    "hotcoco_cvat": (cvat, "images", [CAT, TRIANGLE, ("dog", [40, 5, 10, 10]), SQUARE], True),
    "hotcoco_voc": (voc, "JPEGImages", [CAT, PAIR, SQUARE], True),
    "hotcoco_yolo": (yolo, "images", [CAT, PAIR, SQUARE], True),
    "label_studio_voc": (voc, "images", [CAT, SQUARE], False),
    "label_studio_yolo": (yolo, "images", [CAT, SQUARE, TRIANGLE], True),
    "labelme": (labelme, "", [CAT, PAIR, SQUARE], True),
    "supervision_voc": (voc, "", [CAT, PAIR, SQUARE], True),
    "supervision_yolo": (yolo, "images", [CAT, PAIR, SQUARE], True),
    "ultralytics_yolo": (yolo, "images/train", [CAT, PAIR, SQUARE], True),
}


def folder_of(tool, images, root):
    shutil.copytree(TOOLS / tool, root, dirs_exist_ok=True)
    (root / images).mkdir(parents=True, exist_ok=True)
    for name in ("a", "neg"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / images / f"{name}.png")
    return root


@pytest.mark.parametrize("tool", EXPECTED)
def test_boxes_come_back(tool, tmp_path):
    layout, images, expected, has_negative = EXPECTED[tool]
    content = read(layout.LAYOUT, folder_of(tool, images, tmp_path))
    names = {image["id"]: Path(image["file_name"]).name for image in content.images}
    assert sorted(names.values()) == ["a.png", "neg.png"][: 1 + has_negative]
    assert {names[one["image_id"]] for one in content.annotations} == {"a.png"}
    assert sorted(content.class_names.values()) == ["cat", "dog"]
    got = [(content.class_names[one["category_id"]], one["bbox"]) for one in content.annotations]
    for (label, box), (expected_label, expected_box) in zip(got, expected, strict=True):
        assert label == expected_label
        assert box == pytest.approx(expected_box, abs=1e-6)


@pytest.mark.parametrize("tool", EXPECTED)
def test_what_was_found_survives_a_recipe(tool, tmp_path):
    layout, images, *_ = EXPECTED[tool]
    part = find(layout.LAYOUT, folder_of(tool, images, tmp_path)).parts["train"]
    kept = Part(**yaml.safe_load(yaml.safe_dump(asdict(part))))
    assert kept == part
    assert layout.LAYOUT.read(kept, strict) == layout.LAYOUT.read(part, strict)


def square_with_a_hole():
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[30:40, 50:60] = 1
    mask[32:34, 52:54] = 0
    return mask


@pytest.mark.parametrize("tool", ["datumaro_cvat", "labelme"])
def test_masks_come_back_pixel_by_pixel(tool, tmp_path):
    layout, images, *_ = EXPECTED[tool]
    _, pair, square = read(layout.LAYOUT, folder_of(tool, images, tmp_path)).annotations
    assert pair["segmentation"] == TRIANGLES
    np.testing.assert_array_equal(mask_codec.decode(square["segmentation"]), square_with_a_hole())


def test_ultralytics_joins_the_parts_of_a_mask_by_a_line(tmp_path):
    content = read(yolo.LAYOUT, folder_of("ultralytics_yolo", "images/train", tmp_path))
    (joined,) = content.annotations[1]["segmentation"]
    masks = [
        mask_codec.decode(mask_codec.merge(mask_codec.frPyObjects(one, HEIGHT, WIDTH))) for one in ([joined], TRIANGLES)
    ]
    assert (masks[0] != masks[1]).sum() <= 10  # the line, of one pixel
    assert find(yolo.LAYOUT, tmp_path).has_masks


def test_supervision_gives_the_parts_of_a_mask_to_several_objects_a_pixel_smaller(tmp_path):
    content = read(yolo.LAYOUT, folder_of("supervision_yolo_masks", "images", tmp_path))
    got = [(content.class_names[one["category_id"]], one["bbox"]) for one in content.annotations]
    cat, square = (one_pixel_smaller(*one) for one in (CAT, SQUARE))
    assert got[0] == (cat[0], pytest.approx(cat[1], abs=1e-6))
    assert got[-1] == (square[0], pytest.approx(square[1], abs=1e-6))
    assert len(got) == 4

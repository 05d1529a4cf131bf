"""Boxes of the annotations with the masks that belong to them."""

import numpy as np
import pytest
from detectron2.structures import BoxMode
from fvcore.transforms.transform import CropTransform, HFlipTransform

from focalnet_d2.data.annotations.run_lengths import compressed_rle
from focalnet_d2.data.mappers import BoxAndMaskMapper
from tests.data.segmentation_files import save_image

HEIGHT, WIDTH = 24, 30
SQUARE = [4.0, 3.0, 10.0, 3.0, 10.0, 8.0, 4.0, 8.0]  # columns 4..9, rows 3..7


def thing(category, segmentation, xywh, **more):
    return {
        "category_id": category, "iscrowd": 0, "segmentation": segmentation, "bbox": xywh,
        "bbox_mode": BoxMode.XYWH_ABS, **more,
    }  # fmt: skip


@pytest.fixture
def mapped(tmp_path):
    """Targets of annotations on an image of 30 x 24 pixels."""
    file_name = save_image(tmp_path / "image.png", HEIGHT, WIDTH)

    def targets(*annotations, augmentations=()):
        record = {"file_name": file_name, "annotations": list(annotations)}
        return BoxAndMaskMapper(True, augmentations=augmentations)(record)["instances"]

    return targets


def test_boxes_are_the_annotated_ones_and_masks_go_with_them(mapped):
    blob = np.zeros((HEIGHT, WIDTH), bool)
    blob[10:20, 12:25] = True
    found = mapped(thing(7, [SQUARE], [3.5, 3.0, 6.5, 5.5]), thing(2, compressed_rle(blob), [12, 10, 13, 10]))
    assert found.gt_boxes.tensor.tolist() == [[3.5, 3.0, 10.0, 8.5], [12.0, 10.0, 25.0, 20.0]]
    assert found.gt_classes.tolist() == [7, 2]
    assert found.gt_masks.tensor[0].nonzero().amin(0).tolist() == [3, 4]
    assert found.gt_masks.tensor[0].sum() == 30
    assert np.array_equal(found.gt_masks.tensor[1].numpy(), blob)


def test_a_crop_clips_the_box_and_does_not_draw_it_around_what_is_left_of_the_mask(mapped):
    corner = [4.0, 3.0, 10.0, 3.0, 4.0, 8.0]  # no pixel in its right lower half
    crop = CropTransform(7, 6, 20, 15, WIDTH, HEIGHT)
    found = mapped(thing(0, [corner], [4, 3, 6, 5]), thing(1, [SQUARE], [4, 3, 6, 5]), augmentations=[crop])
    assert found.gt_boxes.tensor.tolist() == [[0.0, 0.0, 3.0, 2.0]] * 2
    assert found.gt_masks.tensor.shape == (2, 15, 20)
    assert not found.gt_masks.tensor[0].any()
    assert found.gt_masks.tensor[1].sum() == 6


def test_crowds_and_what_the_crop_removed_are_no_targets(mapped):
    crop = CropTransform(12, 10, 15, 12, WIDTH, HEIGHT)
    objects = thing(0, [SQUARE], [4, 3, 6, 5]), thing(1, [SQUARE], [12, 10, 6, 6], iscrowd=1)
    for found in (mapped(*objects, augmentations=[crop]), mapped()):
        assert len(found) == 0
        assert found.gt_boxes.tensor.shape == (0, 4)
        assert found.gt_masks.tensor.shape == (0, *found.image_size)
        assert found.gt_classes.shape == (0,)


def test_boxes_and_masks_are_mirrored_together(mapped):
    found = mapped(thing(0, [SQUARE], [4, 3, 6, 5]), augmentations=[HFlipTransform(WIDTH)])
    assert found.gt_boxes.tensor.tolist() == [[20.0, 3.0, 26.0, 8.0]]
    columns = found.gt_masks.tensor[0].nonzero()[:, 1]
    assert (columns.min(), columns.max()) == (20, 25)


@pytest.mark.parametrize(
    ("annotation", "cause"),
    [
        (thing(0, None, [4, 3, 6, 5]), r"image\.png has no segmentation, only a box"),
        (thing(0, [SQUARE[:4]], [4, 3, 6, 5]), r"image\.png has a polygon that is not"),
        (thing(0, [SQUARE], [4, 3, float("nan"), 5]), r"image\.png hold a box that is not finite"),
    ],
)
def test_bad_annotations_are_named(mapped, annotation, cause):
    with pytest.raises(ValueError, match=cause):
        mapped(annotation)

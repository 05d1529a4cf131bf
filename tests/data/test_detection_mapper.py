"""From dataset dict to tensors: what becomes a target and what does not."""

import copy
import pickle

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from fvcore.transforms.transform import CropTransform, HFlipTransform
from PIL import Image

from focalnet_d2.data.mappers import DetectionMapper
from focalnet_d2.data.transforms import detr_800


@pytest.fixture
def record(tmp_path):
    """An image of 60 x 40 pixels whose red channel counts the columns."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[..., 0] = np.arange(60)
    pixels[..., 2] = 200
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return {"file_name": str(tmp_path / "image.png"), "image_id": 3, "height": 40, "width": 60, "annotations": []}


def box(*xywh, category=0, **more):
    return {"bbox": list(xywh), "bbox_mode": BoxMode.XYWH_ABS, "category_id": category, "iscrowd": 0, **more}


def mapped(record, *annotations, augmentations=()):
    return DetectionMapper(True, augmentations=augmentations)({**record, "annotations": list(annotations)})


def test_image_is_rgb_uint8_channels_first_and_the_record_stays(record):
    before = copy.deepcopy(record)
    sample = mapped(record)
    assert record == before
    assert sample["image"].shape == (3, 40, 60)
    assert sample["image"].dtype == torch.uint8
    assert sample["image"][0, 5].tolist() == list(range(60))
    bgr = DetectionMapper(True, augmentations=[], image_format="BGR")(record)
    assert torch.equal(bgr["image"], sample["image"].flip(0))


def test_boxes_and_classes(record):
    instances = mapped(record, box(10, 5, 20, 10, category=4), box(0, 0, 60, 40, category=1))["instances"]
    assert instances.gt_boxes.tensor.tolist() == [[10, 5, 30, 15], [0, 0, 60, 40]]
    assert instances.gt_classes.tolist() == [4, 1]
    assert instances.gt_boxes.tensor.dtype == torch.float32
    assert instances.gt_classes.dtype == torch.int64
    assert instances.image_size == (40, 60)


def test_crowds_and_empty_boxes_are_no_targets(record):
    annotations = [box(1, 1, 9, 9, iscrowd=1), box(5, 5, 0, 9), box(70, 5, 9, 9), box(2, 2, 3, 3, category=6)]
    assert mapped(record, *annotations)["instances"].gt_classes.tolist() == [6]


def test_boxes_are_clipped_to_the_crop_and_dropped_outside(record):
    crop = CropTransform(10, 10, 30, 20, 60, 40)
    boxes = [box(0, 0, 20, 20, category=0), box(45, 0, 10, 40, category=1), box(30, 20, 5, 100, category=2)]
    instances = mapped(record, *boxes, augmentations=[crop])["instances"]
    assert instances.gt_classes.tolist() == [0, 2]
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 10, 10], [20, 10, 25, 20]]
    assert instances.image_size == (20, 30)


def test_augmentations_apply_in_order(record):
    crop, flip = CropTransform(0, 0, 20, 40, 60, 40), HFlipTransform(20)
    sample = mapped(record, box(0, 0, 5, 5), augmentations=[crop, flip])
    assert sample["image"][0, 0].tolist() == list(range(19, -1, -1))
    assert sample["instances"].gt_boxes.tensor.tolist() == [[15, 0, 20, 5]]


@pytest.mark.parametrize("annotations", [[], [box(1, 1, 9, 9, iscrowd=1)]])
def test_image_without_targets_has_empty_instances(record, annotations):
    instances = mapped(record, *annotations, augmentations=[detr_800(0.1)])["instances"]
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.shape == (0,)


def test_record_without_annotations_key(record):
    del record["annotations"]
    assert len(DetectionMapper(True, augmentations=[])(record)["instances"]) == 0


def test_test_mode_keeps_the_size_of_the_file(record):
    resize = T.ResizeShortestEdge(80, 1000)
    record["annotations"] = [box(0, 0, 5, 5)]
    sample = DetectionMapper(False, augmentations=[resize])(record)
    assert sample["image"].shape == (3, 80, 120)
    assert (sample["height"], sample["width"]) == (40, 60)
    assert sample["image_id"] == 3
    assert set(sample) == {"file_name", "image_id", "height", "width", "image"}


def test_size_is_filled_in_where_the_record_has_none(record):
    del record["height"], record["width"]
    sample = DetectionMapper(False, augmentations=[T.Resize((20, 20))])(record)
    assert (sample["height"], sample["width"]) == (40, 60)


def test_size_mismatch_names_the_file(record):
    with pytest.raises(ValueError, match=r"image\.png, got \(60, 40\), expect \(61, 40\)"):
        mapped({**record, "width": 61})


def test_box_that_is_not_finite_names_the_file(record):
    with pytest.raises(ValueError, match=r"image\.png hold a box that is not finite: \[1, nan, 3, 3\]"):
        mapped(record, box(1, 2, 3, 3), box(1, float("nan"), 3, 3))


def test_mapper_can_be_sent_to_a_worker(record):
    mapper = DetectionMapper(True, augmentations=[detr_800(0.1)])
    copied = pickle.loads(pickle.dumps(mapper))
    np.random.seed(4)
    first = mapper(record)
    np.random.seed(4)
    assert torch.equal(first["image"], copied(record)["image"])

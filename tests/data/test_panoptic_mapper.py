"""Panoptic targets: one mask for every segment that is no crowd."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform, PadTransform
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.label_maps import transform_labels
from focalnet_d2.data.mappers import PanopticMapper
from tests.data.segmentation_files import panoptic_record

IDS = [[300, 300, 70000, 0], [300, 5, 70000, 0], [5, 5, 70000, 16777215]]
SEGMENTS = [(70000, 4, 0), (300, 1, 0), (5, 1, 1), (16777215, 2, 0)]


def targets(folder, ids=IDS, segments=SEGMENTS, augmentations=(), **arguments):
    record = panoptic_record(folder, ids, segments)
    return PanopticMapper(True, augmentations=augmentations, **arguments)(record)["instances"]


def test_one_target_for_every_segment_but_the_crowd(tmp_path):
    instances = targets(tmp_path)
    assert instances.gt_classes.tolist() == [4, 1, 2]
    assert instances.gt_masks.tensor.int().tolist() == [
        [[0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]],
        [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]],
    ]
    assert instances.gt_boxes.tensor.tolist() == [[2, 0, 3, 3], [0, 0, 2, 2], [3, 2, 4, 3]]


def test_segments_that_left_the_crop_stay_as_empty_targets_unless_asked(tmp_path):
    crop = CropTransform(0, 0, 2, 3, 4, 3)
    kept = targets(tmp_path, augmentations=[crop])
    assert kept.gt_classes.tolist() == [4, 1, 2]
    assert kept.gt_masks.tensor.sum(dim=(1, 2)).tolist() == [0, 3, 0]
    assert kept.gt_boxes.tensor.tolist() == [[0, 0, 0, 0], [0, 0, 2, 2], [0, 0, 0, 0]]
    dropped = targets(tmp_path, augmentations=[crop], drop_empty=True)
    assert dropped.gt_classes.tolist() == [1]
    assert dropped.gt_masks.tensor.shape == (1, 3, 2)


@pytest.mark.parametrize(
    ("ids", "segments"), [(np.zeros((3, 4), int), []), (np.full((3, 4), 9), [(9, 0, 1)])], ids=["void", "crowd"]
)
@pytest.mark.parametrize("drop_empty", [False, True])
def test_image_without_targets(tmp_path, ids, segments, drop_empty):
    resize = T.Resize((6, 8))
    instances = targets(tmp_path, ids, segments, augmentations=[resize], drop_empty=drop_empty)
    assert instances.gt_masks.tensor.shape == (0, 6, 8)
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.shape == (0,)


def test_segment_that_the_list_lacks_names_file_and_id(tmp_path):
    with pytest.raises(ValueError, match=r"panoptic\.png has the segment ids 5, 300, which segments_info"):
        targets(tmp_path, segments=[(70000, 4, 0), (16777215, 2, 0)])


def test_missing_png(tmp_path):
    record = panoptic_record(tmp_path, IDS, SEGMENTS)
    (tmp_path / "panoptic.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"panoptic\.png does not exist"):
        PanopticMapper(True, augmentations=[])(record)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    new_size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    crop=st.tuples(*[st.integers(0, 9)] * 4),
    seed=st.integers(0, 1000),
)
def test_ids_move_exactly_as_the_pixels_of_their_image(size, new_size, crop, seed):
    """The image is the panoptic PNG itself, resized to the nearest pixel; all three bytes of the ids are in use."""
    ids = np.random.default_rng(seed).integers(0, 2**24, size).astype("<i4")
    (top, left, bottom, right), (height, width) = crop, new_size
    top, left = min(top, height - 1), min(left, width - 1)
    transforms = T.TransformList(
        [
            HFlipTransform(size[1]),
            T.ResizeTransform(*size, *new_size, Image.NEAREST),
            CropTransform(left, top, width - left, height - top, width, height),
            PadTransform(0, 0, right, bottom, pad_value=0, seg_pad_value=0),
        ]
    )
    image = transforms.apply_image(ids.view(np.uint8).reshape(*size, 4)[..., :3])
    moved = transform_labels(transforms, ids)
    assert moved.dtype == np.int32
    assert np.array_equal(moved, image.astype(np.int32) @ [1, 256, 65536])


def test_padding_with_255_is_no_segment():
    moved = transform_labels(PadTransform(0, 0, 1, 1, pad_value=128, seg_pad_value=255), np.array([[2**24 - 1]]))
    assert moved.tolist() == [[2**24 - 1, -1], [-1, -1]]

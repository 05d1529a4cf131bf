"""Geometric augmentations applied at once give what Detectron2's give one after the other."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st

from focalnet_d2.data.geometry import GeometricTransform, Geometry
from focalnet_d2.data.segmentation_transforms import ScaleJitter
from focalnet_d2.data.transforms import RandomSizeCrop

FLIP = T.RandomFlip()
PAD = T.FixedSizeCrop((40, 48), pad_value=128, seg_pad_value=255)
CHAINS = {
    "jitter": [FLIP, ScaleJitter(0.1, 2, 40, 48), PAD],
    "DETR": [
        FLIP,
        T.ResizeShortestEdge((20, 30, 40), 80, "choice"),
        RandomSizeCrop(16, 30),
        T.ResizeShortestEdge((24, 44, 64), 100, "choice"),
    ],
    "crop, flip, pad": [T.ResizeShortestEdge((20, 80), 200, "choice"), T.RandomCrop("absolute", (32, 32)), FLIP, PAD],
    "resize after padding": [PAD, FLIP, T.ResizeShortestEdge((30, 90), 200, "choice"), FLIP],
    "nothing": [],
}


def apply(augmentations, image, seed):
    np.random.seed(seed)
    aug_input = T.AugInput(image)
    transforms = augmentations(aug_input)
    return aug_input.image, transforms, np.random.uniform()


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_pixels_labels_boxes_and_random_numbers_are_those_of_the_single_transforms(chain, height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    expected_image, expected, next_random = apply(T.AugmentationList(chain), image, seed)
    found_image, found, found_random = apply(Geometry(chain), image, seed)
    assert np.array_equal(found_image, expected_image)
    assert found_random == next_random
    assert np.array_equal(found.apply_image(image), expected_image)
    assert found.size_after(height, width) == expected_image.shape[:2]
    labels = rng.integers(0, 256, (height, width), np.uint8)
    assert np.array_equal(found.apply_segmentation(labels), expected.apply_segmentation(labels))
    octets = rng.integers(0, 256, (height, width, 4), np.uint8)
    assert np.array_equal(found.apply_segmentation(octets), expected.apply_segmentation(octets))
    boxes = np.sort(rng.random((5, 2, 2)) * 90, axis=1).reshape(-1, 4)
    assert np.array_equal(found.apply_box(boxes.copy()), expected.apply_box(boxes.copy()))
    assert np.array_equal(found.apply_coords(boxes[:, :2].copy()), expected.apply_coords(boxes[:, :2].copy()))


def test_the_image_that_was_read_stays_as_it_was():
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    before = image.copy()
    for chain in CHAINS.values():
        apply(Geometry(chain), image, 3)
    assert np.array_equal(image, before)


def test_wide_labels_keep_their_numbers():
    labels = np.arange(70_000, 70_012, dtype=np.int32).reshape(3, 4)
    doubled = GeometricTransform([T.ResizeTransform(3, 4, 6, 8)]).apply_segmentation(labels)
    assert doubled.dtype == np.int32
    assert np.array_equal(doubled, labels.repeat(2, axis=0).repeat(2, axis=1))


def test_other_transforms_are_refused():
    with pytest.raises(TypeError, match="VFlipTransform is no flip, resize, crop or padding"):
        apply(Geometry([T.RandomFlip(1.0, horizontal=False, vertical=True)]), np.zeros((4, 4, 3), np.uint8), 0)

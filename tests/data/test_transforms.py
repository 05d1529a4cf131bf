"""The DETR augmentation: sizes out of the list, boxes that stay on their objects."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from focalnet_d2.data.geometry import GeometricTransform
from focalnet_d2.data.transforms import DetrAugmentation, RandomSizeCrop, detr_800, detr_1200

SMALL = {"short_sides": (48, 56, 64), "max_size": 90, "crop_short_sides": (40, 50, 60), "crop_range": (38, 60)}


def augment(augmentation, height, width, seed):
    np.random.seed(seed)
    aug_input = T.AugInput(np.zeros((height, width, 3), np.uint8))
    transforms = augmentation(aug_input)
    return aug_input.image, transforms


@given(height=st.integers(20, 200), width=st.integers(20, 200), seed=st.integers(0, 2**31))
@settings(max_examples=150, deadline=None)
def test_sizes_are_allowed_and_corners_map_to_corners(height, width, seed):
    image, transforms = augment(DetrAugmentation(**SMALL), height, width, seed)
    short, long = sorted(image.shape[:2])
    assert long <= 90
    assert short in (48, 56, 64) or long == 90
    parts = flatten(transforms)
    crops = [part for part in parts if isinstance(part, CropTransform)]
    whole = transforms.apply_box(np.array([[0, 0, width, height]], float))[0]
    inside = whole[[0, 1]].max() <= 1e-3 and whole[2] >= image.shape[1] - 1e-3 and whole[3] >= image.shape[0] - 1e-3
    assert inside
    if not crops:
        np.testing.assert_allclose(whole, [0, 0, image.shape[1], image.shape[0]], atol=1e-3)


def flatten(transforms):
    parts = []
    for part in transforms.transforms:
        parts += flatten(part) if isinstance(part, T.TransformList | GeometricTransform) else [part]
    return parts


@given(height=st.integers(10, 120), width=st.integers(10, 120), seed=st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_crop_sides_lie_in_the_range_or_are_the_images(height, width, seed):
    np.random.seed(seed)
    crop = RandomSizeCrop(30, 60).get_transform(np.zeros((height, width, 3), np.uint8))
    for side, offset, available in ((crop.h, crop.y0, height), (crop.w, crop.x0, width)):
        assert min(30, available) <= side <= min(60, available)
        assert 0 <= offset <= available - side


def test_crop_reaches_both_ends_of_range_and_image():
    np.random.seed(0)
    crops = [RandomSizeCrop(3, 5).get_transform(np.zeros((6, 4, 3), np.uint8)) for _ in range(400)]
    assert {crop.h for crop in crops} == {3, 4, 5}
    assert {crop.w for crop in crops} == {3, 4}
    assert {crop.y0 for crop in crops} == {0, 1, 2, 3}


def test_box_follows_its_object():
    """A bright square stays where its box says, through flip, crop and resizes."""
    for seed in range(40):
        np.random.seed(seed)
        image = np.zeros((80, 100, 3), np.uint8)
        image[30:50, 40:60] = 255
        aug_input = T.AugInput(image)
        transforms = DetrAugmentation(**SMALL)(aug_input)
        left, top, right, bottom = transforms.apply_box(np.array([[40, 30, 60, 50]], float))[0]
        height, width = aug_input.image.shape[:2]
        expected = np.clip([left, top, right, bottom], 0, [width, height, width, height])
        rows, columns = np.nonzero(aug_input.image[..., 0] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, expected, atol=1.01)


def test_branches_and_flips_have_their_probabilities():
    augmentation = DetrAugmentation(**SMALL)
    chains = [flatten(augment(augmentation, 60, 80, seed)[1]) for seed in range(600)]
    crops = sum(any(isinstance(part, CropTransform) for part in chain) for chain in chains)
    flips = sum(any(isinstance(part, HFlipTransform) for part in chain) for chain in chains)
    assert 240 < crops < 360
    assert 240 < flips < 360


@pytest.mark.parametrize(
    ("augmentation", "max_size", "short_sides"),
    [
        (DetrAugmentation(), 1333, {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800}),
        (detr_800(), 1333, {480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800}),
        (detr_1200(), 2000, {480, 560, 640, 720, 800, 900, 1000, 1100, 1200}),
        (detr_800(0.2), 267, {96, 102, 109, 115, 122, 128, 134, 141, 147, 154, 160}),
    ],
)
def test_published_sizes(augmentation, max_size, short_sides):
    resize = augmentation.resized.augs[-1]
    assert set(resize.short_edge_length) == short_sides
    assert resize.max_size == max_size
    assert augmentation.cropped.augs[-1] is resize


def test_published_crops():
    for augmentation, sides, crop in (
        (detr_800(), [400, 500, 600], (384, 600)),
        (detr_1200(), [400, 500, 600, 700, 800, 900], (384, 900)),
    ):
        first_resize, window = augmentation.cropped.augs[1:3]
        assert list(first_resize.short_edge_length) == sides
        assert first_resize.max_size > 100_000, "no bound before the crop"
        assert (window.low, window.high) == crop


@pytest.mark.parametrize(("scale", "bound"), [(1.0, 1333), (0.2, 267)])
def test_mmdetection_bounds_the_longer_side_before_the_crop_as_well(scale, bound):
    first_resize = detr_800(scale, bound_before_crop=True).cropped.augs[1]
    assert first_resize.max_size == bound
    bounded = DetrAugmentation(**SMALL, crop_prob=1.0, bound_before_crop=True)
    for seed in range(20):
        _, resize, crop, _ = augment(bounded, 30, 300, seed)[1].transforms
        assert (resize.new_h, resize.new_w) == (9, 90)
        assert (crop.h, min(crop.w, 38)) == (9, 38)


def test_lists_of_a_recipe_are_accepted():
    settings_of_recipe = OmegaConf.create({key: list(v) if isinstance(v, tuple) else v for key, v in SMALL.items()})
    image, _ = augment(DetrAugmentation(**settings_of_recipe), 60, 80, 0)
    assert image.shape[2] == 3


def test_bad_crop_range():
    with pytest.raises(ValueError, match=r"Crop range \(60, 38\)"):
        RandomSizeCrop(60, 38)

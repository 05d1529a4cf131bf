"""Large-scale jitter and the ADE20K crops: sizes, ranges, padding, and labels that stay on their pixels."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, HFlipTransform, PadTransform
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from focalnet_d2.data.color_jitter import ColorTransform, SsdColorJitter
from focalnet_d2.data.geometry import GeometricTransform
from focalnet_d2.data.segmentation_transforms import RandomRatioResize, ade_crop, lsj, mmseg_crop


def augment(augmentation, image, labels=None, seed=0):
    """(image, labels, all transforms one after the other)."""
    np.random.seed(seed)
    aug_input = T.AugInput(image, sem_seg=labels)
    return aug_input, flatten(augmentation(aug_input))


def flatten(transforms):
    if not isinstance(transforms, T.TransformList | GeometricTransform):
        return [transforms]
    return [part for child in transforms.transforms for part in flatten(child)]


def blank(height, width):
    return np.zeros((height, width, 3), np.uint8)


def without_blur(augmentation):
    """The same augmentation with images resized to the nearest pixel and colours left alone."""
    augmentation.augs = [part for part in augmentation.augs if not isinstance(part, SsdColorJitter)]
    for part in augmentation.augs:
        if isinstance(part, T.AugmentationList):
            without_blur(part)
        elif hasattr(part, "interp"):
            part.interp = Image.NEAREST
    return augmentation


@pytest.mark.parametrize("make", [lsj, ade_crop])
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 2**31))
@settings(max_examples=60)
def test_image_and_labels_move_together_and_padding_is_128_and_255(make, height, width, seed):
    labels = np.random.default_rng(seed).integers(0, 250, (height, width), np.uint8)
    image = np.repeat(labels[..., None], 3, axis=2)
    result, parts = augment(without_blur(make(32)), image, labels, seed)
    assert result.image.shape == (32, 32, 3)
    pad = parts[-1]
    inside = np.zeros((32, 32), bool)
    inside[: 32 - pad.y1, : 32 - pad.x1] = True
    assert np.array_equal(result.image[inside][:, 0], result.sem_seg[inside])
    assert (result.image[~inside] == 128).all()
    assert (result.sem_seg[~inside] == 255).all()
    assert (result.sem_seg[inside] < 250).all()


def test_jittered_scales_are_uniform_over_the_range():
    """A square image of 100 pixels and size 100: the scale is the resized side over 100."""
    drawn = [augment(lsj(100), blank(100, 100), seed=seed)[1] for seed in range(300)]
    scales = np.array([next(part for part in parts if isinstance(part, T.ResizeTransform)).new_h for parts in drawn])
    assert 10 <= scales.min() < 20
    assert 190 < scales.max() <= 200
    assert np.histogram(scales, bins=4, range=(10, 200))[0].min() > 50
    assert 120 < sum(isinstance(part, HFlipTransform) for parts in drawn for part in parts) < 180


def test_jitter_keeps_the_aspect_and_fits_the_longer_side():
    for seed in range(20):
        resize = augment(lsj(64, min_scale=1.0, max_scale=1.0), blank(40, 80), seed=seed)[1][1]
        assert (resize.new_h, resize.new_w) == (32, 64)


def test_jittered_crop_reaches_both_ends_of_the_image():
    crops = [
        next(part for part in augment(lsj(50), blank(50, 50), seed=seed)[1] if isinstance(part, CropTransform))
        for seed in range(300)
    ]
    offsets = np.array([(crop.x0, crop.orig_w - 50 - crop.x0) for crop in crops if crop.orig_w > 60])
    assert (offsets >= 0).all()
    assert (offsets.min(axis=0) < 3).all()
    assert (offsets.max(axis=0) > 30).all()


@pytest.mark.parametrize(("height", "width"), [(1, 400), (400, 1), (3, 1000)])
def test_very_long_images_survive(height, width):
    for seed in range(10):
        assert augment(lsj(32), blank(height, width), seed=seed)[0].image.shape == (32, 32, 3)


def test_published_sizes_of_the_crops():
    assert ade_crop(512).augs[0].augs[0].short_edge_length == [
        *(256, 307, 358, 409, 460, 512, 563, 614, 665, 716, 768, 819, 870, 921, 972, 1024)
    ]
    assert ade_crop(640).augs[0].augs[0].short_edge_length == list(range(320, 1281, 64))
    assert ade_crop(512).augs[0].augs[0].max_size == 2048


def test_crops_resize_crop_change_colors_flip_and_pad_in_this_order():
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    kinds = set()
    for seed in range(60):
        result, parts = augment(ade_crop(40), image, seed=seed)
        resize, crop, colors, flip, _, pad = parts
        assert isinstance(resize, T.ResizeTransform)
        assert isinstance(crop, CropTransform)
        assert isinstance(colors, ColorTransform)
        assert isinstance(flip, HFlipTransform | T.NoOpTransform)
        assert isinstance(pad, PadTransform)
        assert (crop.h, crop.w) == (min(resize.new_h, 40), min(resize.new_w, 40))
        assert result.image.shape == (40, 40, 3)
        kinds.add((type(flip), crop.x0 > 0, crop.y0 > 0, pad.x1 > 0, pad.y1 > 0))
    assert {kind[0] for kind in kinds} == {HFlipTransform, T.NoOpTransform}
    assert all(any(kind[i] for kind in kinds) for i in range(1, 5)), "crops and padding on both axes"


def test_short_sides_of_the_crops_are_drawn_evenly_and_long_sides_are_bounded():
    resizes = [augment(ade_crop(20), blank(30, 60), seed=seed)[1][0] for seed in range(400)]
    counts = np.unique([resize.new_h for resize in resizes], return_counts=True)
    assert counts[0].tolist() == [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40]
    assert counts[1].min() > 10
    long = [augment(ade_crop(20), blank(10, 90), seed=seed)[1][0] for seed in range(40)]
    assert max(resize.new_w for resize in long) == 80


# MMSEG-512


def resized(height, width, *, ratios, sides=(512, 2048), seed=0):
    np.random.seed(seed)
    transform = RandomRatioResize(*sides, ratios=ratios).get_transform(blank(height, width))
    return transform.new_h, transform.new_w


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ((512, 683), 1.0, (512, 683)),
        ((683, 512), 1.0, (683, 512)),
        ((400, 600), 0.5, (256, 384)),
        ((400, 600), 2.0, (1024, 1536)),
        ((300, 3000), 1.0, (205, 2048)),  # the longer side is the limit
        ((300, 3000), 0.5, (102, 1024)),  # and shrinks with the ratio
        ((333, 500), 1.01, (517, 776)),  # limits of 517.12 and 2068.48, rounded down: 500 * 517 / 333 = 776.3
    ],
)
def test_ratios_worked_out_by_hand(size, ratio, expected):
    assert resized(*size, ratios=(ratio, ratio)) == expected


def test_ratios_are_uniform_over_the_range():
    heights = np.array([resized(20, 30, ratios=(0.5, 2.0), sides=(100, 400), seed=seed)[0] for seed in range(400)])
    assert 50 <= heights.min() < 54
    assert 196 < heights.max() <= 200
    assert np.histogram(heights, bins=4, range=(50, 200))[0].min() > 75


def test_mmseg_resizes_crops_flips_and_changes_colors_in_this_order():
    image = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    labels = np.random.default_rng(1).integers(0, 5, (40, 70), np.uint8)
    sizes = set()
    for seed in range(40):
        result, (resize, crop, flip, colors) = augment(mmseg_crop(40), image, labels, seed=seed)
        assert isinstance(resize, T.ResizeTransform)
        assert isinstance(crop, CropTransform)
        assert isinstance(flip, HFlipTransform | T.NoOpTransform)
        assert isinstance(colors, ColorTransform)
        assert 20 <= resize.new_h <= 80
        assert result.image.shape[:2] == result.sem_seg.shape == (min(resize.new_h, 40), min(resize.new_w, 40))
        sizes.add(result.image.shape[0] < 40)
    assert sizes == {True, False}, "small crops are not padded here"


def test_published_settings_of_mmseg():
    resize, crop, flip, colors = mmseg_crop().augs
    assert (resize.short_side, resize.long_side, resize.ratios) == (512, 2048, (0.5, 2.0))
    assert (crop.crop_aug.crop_type, tuple(crop.crop_aug.crop_size)) == ("absolute", (512, 512))
    assert (crop.single_category_max_area, crop.ignored_category) == (0.75, 255)
    assert flip.prob == 0.5
    assert (colors.brightness, colors.contrast, colors.saturation, colors.hue) == (32, (0.5, 1.5), (0.5, 1.5), 18)


def largest_share(labels):
    counts = np.unique(labels[labels != 255], return_counts=True)[1]
    return counts.max() / counts.sum() if len(counts) > 1 else 1.0


def test_crops_that_one_class_fills_are_drawn_again():
    """A small second class in a corner: far more crops have a share of it than if they were drawn once."""
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 40:] = 1
    labels[::2, :20] = 255  # does not count
    crop = mmseg_crop(16).augs[1]
    np.random.seed(0)
    found = []
    for _ in range(200):
        transform = crop.get_transform(blank(64, 64), labels)
        found.append(largest_share(transform.apply_segmentation(labels)))
    assert np.mean(np.array(found) <= 0.75) > 0.75
    assert (
        np.mean([largest_share(labels[y : y + 16, x : x + 16]) <= 0.75 for y in (0, 20, 48) for x in range(49)]) < 0.3
    )


def test_crops_of_one_class_come_anyway():
    transform = mmseg_crop(16).augs[1].get_transform(blank(30, 40), np.zeros((30, 40), np.uint8))
    assert transform.apply_segmentation(np.zeros((30, 40), np.uint8)).shape == (16, 16)
